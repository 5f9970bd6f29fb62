//! The agent: prepares threads for a plan, tells them what to do, sums what they count. Owned by the main thread, which
//! calls [`Agent::tick`] a few times a second; both verbs of the program drive it.
//!
//! Client 0 is the publisher when the plan has one, on a thread of its own; then come the observers; the others go round
//! robin to the workers.

mod aggregate;
pub mod control;
mod plan;
mod probe;
mod shared;

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use c2m_host::clock::monotonic_ns;
use c2m_host::{limits, scheduling};
use c2m_schema::control::{AgentEvent, AgentPlan, AgentPrepared, AgentSummary, BroadcastPlan, FileTables};
use tokio::sync::mpsc::UnboundedSender;

use crate::observer;
use crate::stats::{Board, Counters, Final};
use crate::worker::{Command, Share, Worker};

pub use plan::{PrepareError, Prepared};
pub use probe::ProbeError;
pub(crate) use shared::Shared;

/// Between two lines of statistics.
const STATS_EVERY_NS: u64 = 1_000_000_000;
/// How long the end may take.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(10);
/// A worker's calls are shallow, and there may be hundreds of workers.
const WORKER_STACK_BYTES: usize = 256 * 1024;

/// One thread that holds clients.
struct Thread {
    commands: Commands,
    board: Arc<Board>,
    handle: JoinHandle<io::Result<()>>,
}

enum Commands {
    Worker(Sender<Command>),
    Observers(UnboundedSender<Command>),
}

impl Commands {
    /// A thread that has ended by an error hears nothing more; its counters stay as it published them last.
    fn send(&self, command: Command) {
        let _ = match self {
            Self::Worker(to) => to.send(command).map_err(|_| ()),
            Self::Observers(to) => to.send(command).map_err(|_| ()),
        };
    }
}

/// What is known at the end, beyond the control lines' summary.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last control line.
    pub summary: AgentSummary,
    /// Copies of broadcasts that came after their deadline.
    pub late: u64,
    /// Messages on the topic that are not of the broadcast plan.
    pub foreign: u64,
    /// Joined clients that lack a broadcast they are owed.
    pub gapped: u64,
}

/// A load agent with its threads.
pub struct Agent {
    shared: Arc<Shared>,
    prepared: AgentPrepared,
    clients: u64,
    threads: Vec<Thread>,
    is_started: bool,
    next_stats_ns: u64,
    is_settled: bool,
    is_measured: bool,
}

impl Agent {
    /// Starts the threads of a plan. No connection is opened yet. Errors: a thread or its descriptor table can't be made.
    pub fn start_threads(plan: &AgentPlan, prepared: Prepared) -> io::Result<Self> {
        let Prepared { shared, prepared, .. } = prepared;
        let mut agent = Self {
            shared: Arc::new(shared),
            clients: plan.clients,
            threads: Vec::new(),
            is_started: false,
            next_stats_ns: u64::MAX,
            is_settled: false,
            is_measured: true,
            prepared,
        };
        // Workers first: their tables are copies, and nothing is open yet that they would keep alive.
        let (publisher, observers) = (u64::from(plan.publisher), plan.observers);
        let (first, stride) = (publisher + observers, u64::from(agent.prepared.workers));
        for worker in 0..stride {
            let clients = (plan.clients - first + stride - 1 - worker) / stride;
            let share = Share { first: first + worker, stride, clients, publishes: false };
            agent.start_worker(format!("worker-{worker}"), share, agent.prepared.file_tables)?;
        }
        if plan.publisher {
            let share = Share { first: 0, stride: 1, clients: 1, publishes: true };
            agent.start_worker("publisher".to_owned(), share, FileTables::Shared)?;
        }
        if observers > 0 {
            agent.start_observers(publisher, observers)?;
        }
        Ok(agent)
    }

    fn start_worker(&mut self, name: String, share: Share, tables: FileTables) -> io::Result<()> {
        let board = Arc::new(Board::default());
        let (commands, told) = mpsc::channel();
        let (opened, opens) = mpsc::sync_channel(1);
        let (shared, for_thread) = (Arc::clone(&self.shared), Arc::clone(&board));
        let is_first = self.threads.is_empty();
        let builder = thread::Builder::new().name(name).stack_size(WORKER_STACK_BYTES);
        let handle = builder.spawn(move || {
            let open = || {
                if tables == FileTables::Private {
                    limits::private_file_table()?;
                }
                Worker::open(shared, share, for_thread)
            };
            // The publisher's punctuality counts for more than its throughput.
            if !share.publishes
                && let Err(error) = scheduling::prefer_throughput()
                && is_first
            {
                eprintln!("workers share their cores as any other thread: SCHED_BATCH was refused: {error}");
            }
            match open() {
                Ok(worker) => {
                    // The starter waits for this.
                    let _ = opened.send(Ok(()));
                    worker.run(&told)
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    Ok(())
                }
            }
        })?;
        // One after another: a table is copied while nothing else opens descriptors.
        opens.recv().map_err(io::Error::other)??;
        self.threads.push(Thread { commands: Commands::Worker(commands), board, handle });
        Ok(())
    }

    fn start_observers(&mut self, first: u64, count: u64) -> io::Result<()> {
        let board = Arc::new(Board::default());
        let (commands, told) = tokio::sync::mpsc::unbounded_channel();
        let (shared, for_thread) = (Arc::clone(&self.shared), Arc::clone(&board));
        let builder = thread::Builder::new().name("observers".to_owned());
        let handle = builder.spawn(move || observer::run(&shared, &for_thread, first, count, told))?;
        self.threads.push(Thread { commands: Commands::Observers(commands), board, handle });
        Ok(())
    }

    /// How the plan is being done.
    pub fn prepared(&self) -> &AgentPrepared {
        &self.prepared
    }

    /// One client connects, joins and leaves, on this thread. Errors: it can't.
    pub fn probe(&self) -> Result<(), ProbeError> {
        probe::probe(&self.shared)
    }

    /// Arrivals begin at `start_ns`.
    pub fn start(&mut self, start_ns: u64) {
        self.tell_all(|| Command::Start { start_ns });
        self.is_started = true;
        self.next_stats_ns = start_ns;
    }

    /// Broadcasts begin.
    pub fn measure(&mut self, plan: &BroadcastPlan) {
        self.shared.aggregate.begin(plan.clone());
        self.tell_all(|| Command::Measure(plan.clone()));
        self.is_measured = false;
    }

    /// What is new: statistics once a second and when the last arrival is decided, broadcasts, the end of the
    /// measurement. Call it every 50 ms or so.
    pub fn tick(&mut self) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        let now = monotonic_ns();
        let is_due = now >= self.next_stats_ns;
        if self.is_started && (is_due || !self.is_settled) {
            let counters = self.counters();
            let settles = !self.is_settled && counters.attempted == self.clients && counters.pending() == 0;
            self.is_settled |= settles;
            if is_due || settles {
                events.push(AgentEvent::Stats(counters.to_stats(now, self.take_lag_max_ns())));
            }
            while self.next_stats_ns <= now {
                self.next_stats_ns += STATS_EVERY_NS;
            }
        }
        if !self.is_measured {
            events.extend(self.shared.aggregate.take_news().into_iter().map(AgentEvent::Broadcast));
            if self.shared.aggregate.is_measured() {
                self.is_measured = true;
                events.push(AgentEvent::Measured);
            }
        }
        events
    }

    /// Clients joined now.
    pub fn live(&self) -> u64 {
        self.counters().live
    }

    /// Clients joined now, and those on their way back.
    pub fn held(&self) -> u64 {
        let counters = self.counters();
        counters.live + counters.reconnecting
    }

    /// Whether every client has arrived and is joined, failed or lost.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.threads.iter().for_each(|thread| thread.board.add_to(&mut sum));
        sum
    }

    fn take_lag_max_ns(&self) -> u64 {
        self.threads.iter().map(|thread| thread.board.take_lag_max_ns()).max().unwrap_or(0)
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        self.threads.iter().for_each(|thread| thread.commands.send(command()));
    }

    /// Freezes all counters and says what is known. Clients stay connected until [`Self::close`].
    pub fn freeze(&mut self) -> Outcome {
        let (to, from) = mpsc::channel();
        self.tell_all(|| Command::Freeze(to.clone()));
        drop(to);
        let mut known = Final::default();
        // It ends when every thread has answered or is gone.
        while let Ok(part) = from.recv_timeout(CLOSE_DEADLINE) {
            known.add(&part);
        }
        let latency = known.latencies.named().map(|(name, recorder)| (name.to_owned(), recorder.to_wire()));
        let stats = known.counters.to_stats(monotonic_ns(), self.take_lag_max_ns());
        let summary = AgentSummary {
            stats,
            broadcasts: self.shared.aggregate.ledgers(),
            latency: latency.into(),
            observed: known.observed,
            observed_mismatch: known.observed_mismatch,
        };
        Outcome { summary, late: known.late, foreign: known.foreign, gapped: known.gapped }
    }

    /// Closes every client and ends the threads, as far as [`CLOSE_DEADLINE`] allows.
    pub fn close(self) {
        let deadline_ns = monotonic_ns() + CLOSE_DEADLINE.as_nanos() as u64;
        self.tell_all(|| Command::Close { deadline_ns });
        for thread in self.threads {
            while !thread.handle.is_finished() && monotonic_ns() < deadline_ns {
                thread::sleep(Duration::from_millis(2));
            }
            if !thread.handle.is_finished() {
                return;
            }
            match thread.handle.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("a thread of the agent failed: {error}"),
                Err(_) => eprintln!("a thread of the agent panicked"),
            }
        }
    }
}
