//! What each point needs beside what this machine has. Pure: of the definition and of facts that were read before.

use c2m_host::netns::Setting;
use c2m_schema::control::Engine;
use serde::{Deserialize, Serialize};

use crate::experiment::{Carrier, Experiment};
use crate::plan::{ALL_IN_BYTES_PER_CLIENT, Point, Room, alternatives, planned};
use crate::text::{bytes, count};

mod descriptors;
mod network;
mod table;

pub use table::table;

/// What the machine has, as far as a point needs it. None: this kernel or namespace does not say, so nothing is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Soft limit on descriptors of this process.
    pub nofile_soft: u64,
    /// Hard limit on descriptors, up to which programs raise the soft one themselves.
    pub nofile_hard: u64,
    /// `fs.nr_open`, the ceiling of every hard limit.
    pub nr_open: Option<u64>,
    /// `fs.file-max`, files of the whole machine.
    pub file_max: Option<u64>,
    /// Whether that limit does not bind this process, as it has the right to administrate the machine.
    pub file_max_exempt: bool,
    /// Files open on the machine now.
    pub files_open: u64,
    /// First and last ephemeral port.
    pub ports: (u16, u16),
    /// Ports of that range that are reserved.
    pub ports_reserved: u64,
    /// Tracked connections now and at most; none where nothing is tracked.
    pub conntrack: Option<(u64, u64)>,
    /// Pages of TCP buffers at most.
    pub tcp_mem_max_pages: Option<u64>,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Buckets of the table of established connections.
    pub ehash_entries: Option<u64>,
    /// Longest accept queue.
    pub somaxconn: Option<u64>,
    /// Longest queue of half-open connections.
    pub syn_backlog: Option<u64>,
    /// Memory that can be had without swapping, within the control group's limit.
    pub memory_available_bytes: u64,
    /// The control group's limit, or the machine's memory.
    pub memory_limit_bytes: u64,
    /// Threads that may still be made; none without a limit.
    pub threads_left: Option<u64>,
    /// Cores the processes may use.
    pub cores: u32,
    /// Whether the processes of the run get a network namespace of their own.
    pub netns: bool,
}

/// What of a point one host has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Clients of the server that runs here; 0: none does.
    pub served: u64,
    /// Load agents that run here.
    pub agents: u64,
    /// Clients that they hold.
    pub held: u64,
    /// Source addresses that they have; none: those of 127.0.0.0/8.
    pub sources: Option<u64>,
}

impl Part {
    /// Everything on one machine.
    pub fn whole(e: &Experiment, point: &Point) -> Self {
        let given = e.agents.sources.len() as u64;
        Self {
            served: if e.server.is_remote() { 0 } else { point.clients },
            agents: u64::from(e.agents.count.max(1)),
            held: point.clients,
            // Another host is reached from the one address that the route gives.
            sources: (given > 0 || e.server.is_elsewhere()).then_some(given.max(1)),
        }
    }

    /// The server alone.
    pub fn server(clients: u64) -> Self {
        Self { served: clients, agents: 0, held: 0, sources: None }
    }

    /// One load agent alone, with so many source addresses.
    pub fn agent(clients: u64, sources: u64) -> Self {
        Self { served: 0, agents: 1, held: clients, sources: Some(sources) }
    }

    /// Ends of connections on this host.
    fn ends(self) -> u64 {
        self.served + self.held
    }
}

/// How a need compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// There is enough.
    Fits,
    /// It can run, and its figures may suffer.
    Warn,
    /// It can't run.
    Refuse,
}

/// One need of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is needed.
    pub what: &'static str,
    /// How much of it, with the unit.
    pub need: String,
    /// How much there is, with the unit and where that comes from.
    pub have: String,
    /// Comparison.
    pub verdict: Verdict,
    /// What a person should know of it; empty when there is nothing.
    pub note: String,
    /// Commands that raise it; empty when nothing needs raising.
    pub remedy: Vec<String>,
}

impl Check {
    /// The check as part of a reason.
    pub fn sentence(&self) -> String {
        let note = if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) };
        format!("{}: needs {}, has {}{note}", self.what, self.need, self.have)
    }
}

/// The needs of one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointChecks {
    /// The point.
    pub point: Point,
    /// Its needs.
    pub checks: Vec<Check>,
}

impl PointChecks {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Fits)
    }

    /// Why it can't run; none when it can.
    pub fn refusal(&self) -> Option<String> {
        let refused: Vec<String> =
            self.checks.iter().filter(|c| c.verdict == Verdict::Refuse).map(Check::sentence).collect();
        (!refused.is_empty()).then(|| format!("does not fit this machine: {}", refused.join("; ")))
    }
}

/// The needs of every point of the plan; of a search, those of its bounds.
pub fn preflight(e: &Experiment, have: &Have) -> Vec<PointChecks> {
    let of_point = |(e, point): (Experiment, Point)| {
        let checks = checks(&e, &point, have, Part::whole(&e, &point));
        PointChecks { point, checks }
    };
    planned(e).into_iter().map(of_point).collect()
}

/// The sysctls that the remedies of all points name, in their order: what is set is what is shown, word for word.
pub fn settings(points: &[PointChecks]) -> Vec<Setting> {
    points.iter().flat_map(|p| &p.checks).flat_map(|c| &c.remedy).filter_map(|r| setting(r)).collect()
}

/// Reads `sysctl -w name=value`, the value quoted or not; none for any other text.
pub fn setting(command: &str) -> Option<Setting> {
    let (name, value) = command.trim().strip_prefix("sysctl -w ")?.split_once('=')?;
    let value = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).unwrap_or(value);
    let whole = value.split(' ').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
    whole.then(|| Setting::new(name, value))
}

/// The needs of one host's part of a point.
pub fn checks(e: &Experiment, point: &Point, have: &Have, part: Part) -> Vec<Check> {
    let mut checks = descriptors::checks(e, have, part);
    checks.extend(network::checks(e, point, have, part));
    checks.push(memory(have, part));
    checks.extend(threads(e, have, part));
    checks
}

/// The largest count of clients for which limits, ports and threads suffice with each server, memory aside.
pub fn clients_by_limits(e: &Experiment, have: &Have) -> u64 {
    largest_with_each(e, have, |c| c.verdict != Verdict::Refuse || c.what == MEMORY)
}

/// The largest count of clients that fits in every respect, with each server.
pub fn largest_that_fits(e: &Experiment, have: &Have) -> u64 {
    largest_with_each(e, have, |c| c.verdict != Verdict::Refuse)
}

fn largest_with_each(e: &Experiment, have: &Have, holds: fn(&Check) -> bool) -> u64 {
    let servers: Vec<Experiment> = alternatives(e).collect();
    largest(|clients| {
        let probe = probe_point(clients);
        servers.iter().all(|e| checks(e, &probe, have, Part::whole(e, &probe)).iter().all(holds))
    })
}

/// The largest count of clients that a load agent of its own host can hold, with so many source addresses.
pub fn agent_capacity(e: &Experiment, have: &Have, sources: u64) -> u64 {
    largest(|clients| {
        let checks = checks(e, &probe_point(clients), have, Part::agent(clients, sources));
        checks.iter().all(|c| c.verdict != Verdict::Refuse)
    })
}

/// What bounds automatic counts on this machine.
pub fn room(e: &Experiment, have: &Have) -> Room {
    Room {
        cores: have.cores,
        memory_available_bytes: have.memory_available_bytes,
        clients_by_limits: clients_by_limits(e, have),
    }
}

/// A point of so many clients. What the definition varies does not matter to what is needed.
fn probe_point(clients: u64) -> Point {
    Point {
        index: 0,
        clients,
        carrier: Carrier::Own(Engine::default()),
        payload_bytes: 64,
        interval_ns: 1_000_000_000,
        variant: String::new(),
        rooms: None,
        slow_clients: None,
    }
}

/// The largest number for which a condition holds that holds for all smaller ones; 0 when it holds for none.
fn largest(fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, 1u64 << 30);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

const MEMORY: &str = "memory";

fn memory(have: &Have, part: Part) -> Check {
    // Nearly all of it is the kernel's, which takes the same for either end.
    let each = ALL_IN_BYTES_PER_CLIENT / 2;
    let need = part.ends() * each;
    let enough = need <= have.memory_available_bytes;
    Check {
        what: MEMORY,
        need: bytes(need),
        have: format!("{} available of {}", bytes(have.memory_available_bytes), bytes(have.memory_limit_bytes)),
        verdict: if enough { Verdict::Fits } else { Verdict::Refuse },
        note: format!("{} B per end of a connection, the kernel's part included", count(each)),
        remedy: if enough {
            Vec::new()
        } else {
            vec!["more memory, or a larger memory limit of the control group".into()]
        },
    }
}

/// Threads of a process beside those that hold clients.
const THREADS_BESIDE: u64 = 8;

fn threads(e: &Experiment, have: &Have, part: Part) -> Option<Check> {
    let left = have.threads_left?;
    let (server, agents) = descriptors::threads(e, have, part);
    let need = server + agents + (1 + part.agents) * THREADS_BESIDE;
    let enough = need <= left;
    Some(Check {
        what: "threads",
        need: count(need),
        have: format!("{} more", count(left)),
        verdict: if enough { Verdict::Fits } else { Verdict::Refuse },
        note: String::new(),
        remedy: if enough {
            Vec::new()
        } else {
            vec![
                "ulimit -u unlimited".into(),
                "raise pids.max of the control group (systemd: TasksMax=infinity)".into(),
                format!("sysctl -w kernel.threads-max={}", need * 2),
            ]
        },
    })
}
