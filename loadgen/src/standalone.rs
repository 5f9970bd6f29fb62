//! The `run` verb: a little controller that takes an agent through ramp, settle, measure, hold and drain on the main
//! thread, says how it goes on stderr, and gives everything that was seen to the summary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use c2m_host::clock::monotonic_ns;
use c2m_host::root::ProcRoot;
use c2m_schema::control::{AgentEvent, AgentStats, BroadcastPlan};
use serde::Serialize;

use crate::agent::{Agent, Outcome, PrepareError, Prepared};
use crate::cli::RunArgs;
use crate::summary::Summary;

const TICK: Duration = Duration::from_millis(20);
/// From announcing broadcasts to the first: longer than a worker sleeps.
const ANNOUNCED_NS: u64 = 250_000_000;
const NS_PER_S: f64 = 1e9;
const NS_PER_MS: u64 = 1_000_000;

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// The plan is not possible on this machine.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Too few source addresses, and not told to go on all the same.
    #[error("{0}; --force runs it all the same")]
    Short(String),
    /// A thread, a descriptor table or a signal handler can't be made.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Clients arrive.
    Ramp,
    /// All have arrived; nothing is measured yet.
    Settle,
    /// Broadcasts.
    Measure,
    /// Clients are held.
    Hold,
    /// Clients are closed.
    Drain,
}

/// Counters at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Seconds since the first arrival was due.
    pub second: f64,
    /// What the run was at.
    pub phase: Phase,
    /// Counters.
    #[serde(flatten)]
    pub stats: AgentStats,
}

/// Everything a run has shown.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Things said before it began.
    pub warnings: Vec<String>,
    /// One row per second, and one at the end of the ramp.
    pub rows: Vec<Row>,
    /// Most clients joined at once.
    pub live_peak: u64,
    /// From the first due arrival to the last client's join or failure.
    pub ramp_s: f64,
    /// Broadcasts that the schedule had.
    pub broadcasts_planned: u32,
    /// Whether the measurement was begun and reached its end.
    pub is_complete: bool,
    /// Whether a signal ended the run.
    pub is_interrupted: bool,
    /// What is known at the end.
    pub outcome: Outcome,
}

/// Runs `args` to the end. Errors: it can't be begun. The clients are closed when it returns.
pub fn run(args: &RunArgs) -> Result<Summary, CannotRun> {
    let plan = args.to_plan();
    let prepared = Prepared::new(&plan, &ProcRoot::new(&args.proc_root))?;
    let mut warnings = prepared.prepared.warnings.clone();
    warnings.extend(rare_heartbeats(args));
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(shortage) = prepared.shortage.clone().filter(|_| !args.force) {
        return Err(CannotRun::Short(shortage));
    }
    let signal = Arc::new(AtomicBool::new(false));
    for number in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(number, Arc::clone(&signal))?;
    }
    let agent = Agent::start_threads(&plan, prepared)?;
    let prepared = agent.prepared();
    eprintln!(
        "{} clients on {} workers ({:?} file tables), {} source address(es), capacity {}",
        plan.clients, prepared.workers, prepared.file_tables, prepared.sources, prepared.capacity
    );
    let mut controller = Controller::new(args, agent, signal);
    controller.drive();
    let seen = controller.finish(warnings);
    Ok(Summary::new(args, &seen))
}

/// C08: the interval leaves no room for a heartbeat that is late or lost.
fn rare_heartbeats(args: &RunArgs) -> Option<String> {
    let (interval_s, timeout_s) = (args.heartbeat_s, args.server_timeout_s.filter(|&timeout_s| timeout_s > 0.0)?);
    if interval_s == 0.0 {
        return Some(format!("without heartbeats the server closes its idle clients after {timeout_s} s"));
    }
    (interval_s >= timeout_s / 2.0).then(|| {
        format!("a heartbeat every {interval_s} s is rare for a server that closes idle clients after {timeout_s} s")
    })
}

struct Controller<'a> {
    args: &'a RunArgs,
    agent: Agent,
    signal: Arc<AtomicBool>,
    phase: Phase,
    /// End of a phase that has a length.
    until_ns: u64,
    start_ns: u64,
    rows: Vec<Row>,
    live_peak: u64,
    ramp_s: f64,
    is_complete: bool,
}

impl<'a> Controller<'a> {
    fn new(args: &'a RunArgs, mut agent: Agent, signal: Arc<AtomicBool>) -> Self {
        let start_ns = monotonic_ns();
        agent.start(start_ns);
        Self {
            args,
            agent,
            signal,
            phase: Phase::Ramp,
            until_ns: 0,
            start_ns,
            rows: Vec::new(),
            live_peak: 0,
            ramp_s: 0.0,
            is_complete: args.broadcasts == 0,
        }
    }

    fn drive(&mut self) {
        while self.phase != Phase::Drain {
            if self.signal.load(Ordering::Relaxed) {
                eprintln!("interrupted");
                self.phase = Phase::Drain;
                return;
            }
            let mut is_measured = false;
            for event in self.agent.tick() {
                match event {
                    AgentEvent::Stats(stats) => self.row(stats),
                    AgentEvent::Broadcast(ledger) => eprintln!(
                        "broadcast {}: {} of {} received, {} duplicate",
                        ledger.sequence, ledger.received, ledger.expected, ledger.duplicate
                    ),
                    AgentEvent::Measured => is_measured = true,
                    _ => {}
                }
            }
            let live = self.agent.live();
            self.live_peak = self.live_peak.max(live);
            self.step(is_measured);
            thread::sleep(TICK);
        }
    }

    /// Goes on to the next phase when this one is over.
    fn step(&mut self, is_measured: bool) {
        let now = monotonic_ns();
        match self.phase {
            Phase::Ramp if self.agent.is_settled() => {
                self.ramp_s = self.seconds(now);
                self.enter(Phase::Settle, now, self.args.settle_s);
            }
            Phase::Settle if now >= self.until_ns => {
                // Without clients there is nothing to measure or hold.
                match (self.agent.held(), self.args.broadcasts) {
                    (0, _) => self.phase = Phase::Drain,
                    (_, 0) => self.enter(Phase::Hold, now, self.args.hold_s),
                    _ => self.measure(now),
                }
            }
            Phase::Measure if is_measured => {
                self.is_complete = true;
                self.enter(Phase::Hold, now, self.args.hold_s);
            }
            Phase::Hold if now >= self.until_ns => self.phase = Phase::Drain,
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase, now: u64, seconds: f64) {
        self.phase = phase;
        self.until_ns = now + (seconds * NS_PER_S) as u64;
    }

    fn measure(&mut self, now: u64) {
        self.phase = Phase::Measure;
        self.agent.measure(&BroadcastPlan {
            first_due_ns: now + ANNOUNCED_NS,
            count: self.args.broadcasts,
            interval_ns: self.args.interval_ms * NS_PER_MS,
            payload_bytes: self.args.payload_bytes,
            deadline_ns: self.args.deadline_ms * NS_PER_MS,
            clock_offset_ns: 0,
        });
    }

    fn seconds(&self, now: u64) -> f64 {
        now.saturating_sub(self.start_ns) as f64 / NS_PER_S
    }

    fn row(&mut self, stats: AgentStats) {
        let second = self.seconds(stats.at_ns);
        let returns = if self.args.reconnect {
            format!(", {} reconnecting, {} reconnects", stats.reconnecting, stats.reconnects)
        } else {
            String::new()
        };
        eprintln!(
            "{second:7.1} s {:?}: {} attempted, {} tcp, {} upgraded, {} joined, {} live, {} failed, {} dropped{returns}",
            self.phase,
            stats.attempted,
            stats.tcp_connected,
            stats.upgraded,
            stats.joined,
            stats.live,
            stats.failed,
            stats.dropped
        );
        self.rows.push(Row { second, phase: self.phase, stats });
    }

    /// Takes the final counters, then closes the clients.
    fn finish(mut self, warnings: Vec<String>) -> Seen {
        let outcome = self.agent.freeze();
        self.live_peak = self.live_peak.max(outcome.summary.stats.live);
        self.row(outcome.summary.stats.clone());
        self.agent.close();
        Seen {
            warnings,
            rows: self.rows,
            live_peak: self.live_peak,
            ramp_s: self.ramp_s,
            broadcasts_planned: self.args.broadcasts,
            is_complete: self.is_complete,
            is_interrupted: self.signal.load(Ordering::Relaxed),
            outcome,
        }
    }
}
