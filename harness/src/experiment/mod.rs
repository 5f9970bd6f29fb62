//! The definition of an experiment: one question, as a TOML file asks it.
//!
//! Plain data, owned by whoever read it. Unknown keys are refused; every key that is left out has the default written
//! here. [`load`] reads files and overrides, [`check`] says which values are out of range.

use c2m_schema::control::{ArrivalPhase, FileTables};
use c2m_schema::rooms::Sizes;
use serde::{Deserialize, Serialize};

pub mod check;
pub mod load;
mod server;
mod words;

pub use server::{Carrier, OtherServer, Server};
pub use words::{Counts, Interval, Joined, OneOrMany, Payloads, Words};

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the experiment and of its folder under the results; the file's stem unless given.
    #[serde(default)]
    pub name: String,
    /// What is asked, for a person.
    pub question: String,
    /// Where the processes of the run live.
    #[serde(default)]
    pub isolate: Isolate,
    /// What can't be read off the machine.
    #[serde(default, skip_serializing_if = "Host::is_empty")]
    pub host: Host,
    /// The server under test.
    #[serde(default)]
    pub server: Server,
    /// Who connects.
    pub clients: Clients,
    /// When they connect.
    #[serde(default)]
    pub arrival: Arrival,
    /// What is sent to all of them.
    #[serde(default)]
    pub broadcast: Broadcast,
    /// The processes that hold the clients.
    #[serde(default)]
    pub agents: Agents,
    /// How long and how often.
    #[serde(default)]
    pub measure: Measure,
    /// What must hold for the exit status 0.
    #[serde(default)]
    pub expect: Expect,
    /// Bare sockets beside every repetition, to hold its figures against; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// Instead of points that are written down: the largest value of one key at which everything holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

/// Network isolation asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolate {
    /// A private network namespace with its own settings; the host's where that is not allowed, said aloud.
    #[default]
    Netns,
    /// The network of the host as it is.
    Host,
}

impl Isolate {
    /// The word in the TOML and in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Host => "host",
        }
    }
}

/// `[host]`: what can't be read off the machine that runs the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// What it costs, US dollars a month; left out: unknown, and the money chart has no bar for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_month_usd: Option<f64>,
}

impl Host {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `[clients]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// One point per count, or `"auto"`: counts chosen to fit the machine. Left out where it is searched for.
    #[serde(default = "Clients::no_counts", skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// Channel that every client joins.
    #[serde(default = "Clients::topic")]
    pub topic: String,
    /// Phoenix serializer, `1.0.0` or `2.0.0`.
    #[serde(default = "Clients::serializer")]
    pub serializer: String,
    /// Seconds between heartbeats of a client; 0 is none.
    #[serde(default = "Clients::heartbeat_s")]
    pub heartbeat_s: f64,
    /// How many of the clients check every payload byte for byte.
    #[serde(default = "Clients::observers")]
    pub observers: u64,
    /// Milliseconds a TCP connect may take.
    #[serde(default = "Clients::timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Milliseconds an upgrade may take.
    #[serde(default = "Clients::timeout_ms")]
    pub upgrade_timeout_ms: u64,
    /// Milliseconds a join may take.
    #[serde(default = "Clients::timeout_ms")]
    pub join_timeout_ms: u64,
    /// Instead of `topic`: the clients are spread over many rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Rooms>,
    /// Some of the clients read slowly or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Whether clients that lose their connection come back, as the official client does; where they don't, a drop is a
    /// drop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reconnect: bool,
}

/// `clients.rooms`: topics `bench:0`, `bench:1`, … of which each client joins one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rooms {
    /// How many; a list makes points of each.
    pub count: OneOrMany<u32>,
    /// Sizes: `equal`, or `zipf` (the n-th room has 1/n of the members of the first); a list makes points of each.
    #[serde(default = "Rooms::sizes")]
    pub sizes: OneOrMany<Sizes>,
}

impl Rooms {
    fn sizes() -> OneOrMany<Sizes> {
        OneOrMany(vec![Sizes::Equal])
    }
}

/// `clients.slow`: clients that read slowly or never once they are joined. They are in no ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Share of the clients, 0 to 1; above 0 it is one client at least. A list makes points of each.
    pub share: OneOrMany<f64>,
    /// How they read.
    #[serde(default)]
    pub kind: SlowKind,
    /// With kind `slowly`: bytes per second that each of them reads, 10 to 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

/// How slow clients read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlowKind {
    /// Nothing at all.
    #[default]
    Never,
    /// So many bytes per second.
    Slowly,
}

impl Clients {
    /// Channel where nothing is said.
    pub(crate) const TOPIC: &str = "rooms:lobby";

    fn no_counts() -> Counts {
        Counts::List(Vec::new())
    }
    fn topic() -> String {
        Self::TOPIC.into()
    }
    fn serializer() -> String {
        "2.0.0".into()
    }
    fn heartbeat_s() -> f64 {
        30.0
    }
    fn observers() -> u64 {
        2
    }
    fn timeout_ms() -> u64 {
        15_000
    }
}

/// `[arrival]`: one rate, or phases of rates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrival {
    /// Arrivals per second over all agents, until every client has arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    /// Instead of one rate: rates one after the other; the last goes on until every client has arrived.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<ArrivalPhase>,
}

impl Arrival {
    /// Arrivals per second where nothing is said.
    pub const DEFAULT_RATE_PER_S: f64 = 10_000.0;

    /// The schedule as phases. The last has no end.
    pub fn schedule(&self) -> Vec<ArrivalPhase> {
        if self.phases.is_empty() {
            let rate_per_s = self.rate_per_s.unwrap_or(Self::DEFAULT_RATE_PER_S);
            return vec![ArrivalPhase { seconds: None, rate_per_s }];
        }
        let mut phases = self.phases.clone();
        if let Some(last) = phases.last_mut() {
            last.seconds = None;
        }
        phases
    }

    /// Highest rate of the schedule, per second.
    pub fn peak_per_s(&self) -> f64 {
        self.schedule().iter().map(|p| p.rate_per_s).fold(0.0, f64::max)
    }

    /// Seconds until `clients` have arrived by the schedule.
    pub fn seconds_for(&self, clients: u64) -> f64 {
        let (mut left, mut seconds) = (clients as f64, 0.0);
        for phase in self.schedule() {
            let arrive = phase.seconds.map_or(left, |s| (s * phase.rate_per_s).min(left));
            if phase.rate_per_s > 0.0 {
                seconds += arrive / phase.rate_per_s;
            } else {
                seconds += phase.seconds.unwrap_or(0.0);
            }
            left -= arrive;
        }
        seconds
    }
}

/// `[broadcast]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broadcast {
    /// How many; 0: clients are held and nothing is sent.
    pub count: u32,
    /// Milliseconds between due times, or `"auto"`: the larger of 1000 and 15 µs per client, so that one broadcast has
    /// reached everybody before the next is due.
    pub interval_ms: Interval,
    /// Bytes of the JSON payload; a list makes one point of each.
    pub payload_bytes: Payloads,
    /// Milliseconds after its due time in which a broadcast still counts as received.
    pub deadline_ms: u64,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { count: 10, interval_ms: Interval::Auto, payload_bytes: Payloads(vec![64]), deadline_ms: 30_000 }
    }
}

/// `[agents]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// Agent processes; the clients are spread evenly over them.
    pub count: u32,
    /// Threads of each agent; 0: as many as cores and descriptor limits ask for.
    pub workers: u32,
    /// Where the limit on descriptors counts; left out: whichever fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_tables: Option<FileTables>,
    /// Source addresses; empty: as many of 127.0.0.0/8 as the clients need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<std::net::IpAddr>,
    /// First and last source port; left out: the ephemeral range in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<(u16, u16)>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { count: 1, workers: 0, file_tables: None, sources: Vec::new(), source_ports: None }
    }
}

/// `[measure]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// How often each point is run.
    pub repetitions: u32,
    /// Seconds between the last arrival and the reading of memory.
    pub settle_s: f64,
    /// Seconds the clients are held after the last broadcast.
    pub hold_s: f64,
    /// Points of more clients than this run once, whatever `repetitions` says; left out: every point is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_upto_clients: Option<u64>,
}

impl Measure {
    /// How often a point of so many clients is run.
    pub fn repetitions_of(&self, clients: u64) -> u32 {
        if self.repeat_upto_clients.is_some_and(|most| clients > most) { 1 } else { self.repetitions }
    }
}

impl Default for Measure {
    fn default() -> Self {
        Self { repetitions: 1, settle_s: 2.0, hold_s: 0.0, repeat_upto_clients: None }
    }
}

/// `[floor]`: what the machine can do at best, measured before each repetition with as many bare sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Floor {
    /// Messages to all of the size of a broadcast on the wire, one after another.
    pub broadcasts: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self { broadcasts: 3 }
    }
}

/// A key whose largest value can be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SearchKey {
    /// Clients held.
    #[serde(rename = "clients.counts")]
    ClientsCounts,
    /// Arrivals per second.
    #[serde(rename = "arrival.rate_per_s")]
    ArrivalRate,
}

/// `[search]`: the largest value of `key` at which every expectation of `[expect]` is met and the load generator keeps
/// its schedule. Every value tried is a point of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is varied.
    pub key: SearchKey,
    /// Value tried first.
    pub low: u64,
    /// Largest value that is tried.
    pub high: u64,
    /// The search ends when the smallest value that failed is above the largest that held by at most this part of it.
    #[serde(default = "Search::until")]
    pub until: f64,
}

impl Search {
    fn until() -> f64 {
        0.05
    }
}

/// `[expect]`: what makes a run a test. What is left out is not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Clients that must have joined: a number, or `"all"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
    /// Most clients that may be lost after they had joined, slow ones aside. One that came back is not lost; one that was
    /// refused or is still on its way at the end is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Most deliveries that may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Most deliveries that may come twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<u64>,
    /// Most deliveries that may come after a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<u64>,
    /// Milliseconds from a broadcast's due time to its last delivery, worst broadcast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery_ms: Option<u64>,
    /// Milliseconds, 99th percentile of deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p99_ms: Option<u64>,
    /// Milliseconds, 99th percentile from an arrival's due time to its join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_p99_ms: Option<u64>,
    /// Most bytes of server memory per client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_bytes_per_client: Option<f64>,
    /// Most bytes of agent memory per client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_bytes_per_client: Option<f64>,
    /// Whether the generator may have been the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loadgen_saturated: Option<bool>,
    /// Most deliveries that may come to clients that were not to get them, in a wrong room above all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unexpected: Option<u64>,
}
