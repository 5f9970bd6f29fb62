//! `run.json`: what ran, on what, under which limits.

use serde::{Deserialize, Serialize};

use crate::control::{AgentPrepared, ServerReady};

/// File name inside the run directory.
pub const FILE: &str = "run.json";

/// The record of one run. Written when the run begins, and again as its processes say what they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`crate::SCHEMA_VERSION`].
    pub schema: String,
    /// Version of the harness.
    pub c2m_version: String,
    /// Revision of the source the harness was built from, `-dirty` when changed; `unknown` outside a checkout.
    pub git: String,
    /// Command line, whole.
    pub argv: Vec<String>,
    /// Label given with `--label`.
    pub label: Option<String>,
    /// Name of the experiment.
    pub experiment: String,
    /// UTC begin, RFC 3339.
    pub started_utc: String,
    /// How local processes are isolated: `netns` or `host`, and why when it is not what was asked for.
    pub isolation: Isolation,
    /// The machine.
    pub host: HostRecord,
    /// What the processes of each repetition said of themselves.
    pub roles: Vec<RoleRecord>,
    /// What a search has found so far; none when the experiment is no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchRecord>,
    /// When and how the run was taken up again after it had been ended early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<ResumeRecord>,
    /// What the random numbers of the load agents are drawn from; none in runs that came before the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The hosts of a fleet, the server's first; empty when everything ran on one machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<FleetRecord>,
    /// Phases that a person ended early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<ShortenedRecord>,
}

/// One host of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetRecord {
    /// What the file of hosts calls it.
    pub name: String,
    /// `server` or `load`.
    pub role: String,
    /// Words that reach it.
    pub command: Vec<String>,
    /// Address of the server, or source addresses of the clients; empty: the one that the route gives.
    pub addresses: Vec<String>,
    /// What it costs a month, in US dollars.
    pub price_per_month_usd: Option<f64>,
    /// The machine's current start: hosts with the same are one machine.
    pub boot_id: String,
    /// The machine.
    pub host: HostRecord,
}

/// A phase that a person ended early.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShortenedRecord {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// `settle` or `hold`.
    pub phase: String,
    /// How long it took, in seconds.
    pub after_s: f64,
    /// How long it should have taken, in seconds.
    pub length_s: f64,
}

/// A run was taken up again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeRecord {
    /// UTC begin, RFC 3339.
    pub started_utc: String,
    /// Revision of the source the harness was built from.
    pub git: String,
    /// Command line, whole.
    pub argv: Vec<String>,
    /// When it began, nanoseconds since the run began. Time that passed in between does not count: times go on a second
    /// after the last that the run has.
    pub t_ns: u64,
}

/// A search for the largest value of one key at which every expectation is met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchRecord {
    /// Dotted key of the definition.
    pub key: String,
    /// Smallest value to try.
    pub low: u64,
    /// Largest value to try.
    pub high: u64,
    /// Relative width at which the search ends.
    pub until: f64,
    /// Values tried, in order.
    pub probes: Vec<SearchProbe>,
    /// Largest value that met every expectation; none when none did.
    pub found: Option<u64>,
    /// Smallest value above it that did not; none when none failed.
    pub not_met: Option<u64>,
    /// Whether the search came to its end.
    pub complete: bool,
}

/// One value tried by a search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchProbe {
    /// The value.
    pub value: u64,
    /// Index of its point in `points.csv`.
    pub point: u32,
    /// Whether every repetition of it met every expectation.
    pub met: bool,
}

/// Network isolation in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// `netns` or `host`.
    pub mode: String,
    /// Why it is not the mode that was asked for.
    pub fallback_reason: Option<String>,
    /// Settings made inside the namespace: name and value.
    pub sysctls: Vec<(String, String)>,
}

/// Facts about the machine, as far as they bear on a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Operating system's name.
    pub os: String,
    /// CPU model.
    pub cpu_model: String,
    /// Cores of the machine.
    pub cores_host: u32,
    /// Cores the affinity mask allows.
    pub cores_allowed: u32,
    /// CPU quota in thousandths of a core; none without a quota.
    pub cpu_quota_millicores: Option<u64>,
    /// Memory of the machine.
    pub memory_total_bytes: u64,
    /// Memory the control group allows, or the machine's.
    pub memory_limit_bytes: u64,
    /// Soft limit on descriptors.
    pub nofile_soft: u64,
    /// Hard limit on descriptors.
    pub nofile_hard: u64,
    /// Virtualisation, where the CPU says so.
    pub hypervisor: bool,
    /// Every sysctl that bears on the result: name and value, as the processes of the run see them.
    pub sysctls: Vec<(String, String)>,
    /// What the machine costs, US dollars a month; none where the definition does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_month_usd: Option<f64>,
}

/// What the processes of one repetition said of themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleRecord {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// The server.
    pub server: Option<ServerReady>,
    /// The agents, in order.
    pub agents: Vec<AgentPrepared>,
    /// Their hosts and clocks, in order; empty when everything ran on one machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockRecord>,
}

/// The clock of one agent's host during one repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    /// Name of the host.
    pub host: String,
    /// Clients that the agent was to hold.
    pub clients: u64,
    /// Its clock minus that of the first agent's host, when the measurement began; none when there was no measurement.
    pub offset_ns: Option<i64>,
    /// Largest error of that until the end of the measurement, either way.
    pub error_ns: Option<u64>,
}
