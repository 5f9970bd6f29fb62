//! The sampling thread: it reads the machine once a second, and at once when asked, and writes what it read.
//!
//! It owns the sampler and the tables `samples.csv` and `cores.csv`. What rows are to say of the moment (point, phase,
//! processes, their latest counters) is behind one lock, held for copies only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use c2m_schema::control::{AgentStats, ServerStats};
use c2m_schema::rows::{CoreRow, Phase, SampleRow, Subject};
use c2m_schema::table::Writer;

use super::child::{Watched, Who};
use super::machine::Read;
use super::progress::Progress;
use super::watch::Watch;

const INTERVAL: Duration = Duration::from_secs(1);
/// A reading of /proc takes milliseconds; on a machine that is starved of CPU, seconds.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// What rows say of the moment.
#[derive(Clone, Debug, Default)]
struct Moment {
    point: u32,
    repetition: u32,
    phase: Phase,
    processes: Vec<(Who, Watched)>,
    server: Option<ServerStats>,
    agents: BTreeMap<usize, AgentStats>,
    server_rss_bytes: Option<u64>,
}

type Answer = SyncSender<Vec<SampleRow>>;

/// Handle of the sampling thread.
#[derive(Debug)]
pub struct Sampling {
    moment: Arc<Mutex<Moment>>,
    asks: Option<Sender<Answer>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Sampling {
    /// Creates the tables in `dir`, or goes on with them in the rows of repetitions that `keeps` names, and starts the
    /// thread. `machine` is what it reads, times are counted from `begin_ns`. `progress` gets every reading, too.
    pub fn start(
        dir: &Path,
        begin_ns: u64,
        machine: Box<dyn Read>,
        progress: Progress,
        keeps: impl Fn((u32, u32)) -> bool,
    ) -> anyhow::Result<Self> {
        let moment = Arc::new(Mutex::new(Moment::default()));
        let (asks, asked) = mpsc::channel();
        let worker = Worker {
            machine,
            begin_ns,
            moment: Arc::clone(&moment),
            progress,
            samples: Writer::resume(dir, &keeps)?,
            cores: Writer::resume(dir, &keeps)?,
        };
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(move || worker.run(&asked))?;
        Ok(Self { moment, asks: Some(asks), thread: Some(thread) })
    }

    /// Ends the thread. Errors: a table could not be written.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.join()
    }

    fn join(&mut self) -> anyhow::Result<()> {
        self.asks = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the sampling thread panicked"),
            None => Ok(()),
        }
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        lock(&self.moment)
    }
}

/// Plain data stays whole even when a holder panicked.
fn lock(moment: &Mutex<Moment>) -> MutexGuard<'_, Moment> {
    moment.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch for Sampling {
    fn begin(&mut self, point: u32, repetition: u32) {
        *self.moment() = Moment { point, repetition, ..Moment::default() };
    }

    fn phase(&mut self, phase: Phase) {
        self.moment().phase = phase;
    }

    fn process(&mut self, who: Who, watched: Watched) {
        self.moment().processes.push((who, watched));
    }

    fn forget(&mut self, who: Who) {
        self.moment().processes.retain(|(w, _)| *w != who);
    }

    fn server_stats(&mut self, stats: &ServerStats) {
        self.moment().server = Some(stats.clone());
    }

    fn agent_stats(&mut self, agent: usize, stats: &AgentStats) {
        self.moment().agents.insert(agent, stats.clone());
    }

    fn sample_now(&mut self) -> anyhow::Result<Vec<SampleRow>> {
        let (answer, answered) = mpsc::sync_channel(1);
        let asked = self.asks.as_ref().is_some_and(|asks| asks.send(answer).is_ok());
        if asked && let Ok(rows) = answered.recv_timeout(ANSWER_MAX) {
            return Ok(rows);
        }
        if self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            anyhow::bail!("the machine could not be read within {} s", ANSWER_MAX.as_secs());
        }
        self.join()?;
        anyhow::bail!("the sampling thread has ended")
    }

    fn server_rss_bytes(&self) -> Option<u64> {
        self.moment().server_rss_bytes
    }
}

struct Worker {
    machine: Box<dyn Read>,
    begin_ns: u64,
    moment: Arc<Mutex<Moment>>,
    progress: Progress,
    samples: Writer<SampleRow>,
    cores: Writer<CoreRow>,
}

impl Worker {
    fn run(mut self, asked: &Receiver<Answer>) -> anyhow::Result<()> {
        let mut due = Instant::now();
        loop {
            match asked.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(answer) => {
                    let rows = self.sample()?;
                    // Who asked may have given up meanwhile.
                    let _ = answer.try_send(rows);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.sample()?;
                    // A second that was missed stays missed.
                    while due <= Instant::now() {
                        due += INTERVAL;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn sample(&mut self) -> anyhow::Result<Vec<SampleRow>> {
        let moment = lock(&self.moment).clone();
        let (mut rows, mut cores) = self.machine.read(&moment.processes);
        for row in &mut rows {
            moment.fill(row, self.begin_ns);
        }
        for core in &mut cores {
            (core.point, core.repetition) = (moment.point, moment.repetition);
        }
        if let Some(server) = rows.iter().find(|r| r.subject == Subject::Server) {
            lock(&self.moment).server_rss_bytes = server.rss_bytes;
        }
        self.samples.write_all(&rows).context("write samples.csv")?;
        self.cores.write_all(&cores).context("write cores.csv")?;
        self.progress.sampled(&rows, &cores);
        Ok(rows)
    }
}

impl Moment {
    /// Adds to a row what was read elsewhere: where it belongs, and the latest counters of its process.
    fn fill(&self, row: &mut SampleRow, begin_ns: u64) {
        (row.point, row.repetition, row.phase) = (self.point, self.repetition, self.phase);
        match row.subject {
            Subject::Server => {
                let Some(s) = &self.server else { return };
                row.counters_ns = s.at_ns.checked_sub(begin_ns);
                row.joined = Some(s.joined);
                row.upgraded = Some(s.upgraded);
                row.connections = Some(s.connections);
                row.deliveries = Some(s.deliveries);
                row.bytes_in = Some(s.bytes_in);
                row.bytes_out = Some(s.bytes_out);
                if let Some(pubsub) = &s.pubsub {
                    row.pubsub_state = Some(pubsub.state);
                    row.pubsub_nodes = Some(pubsub.nodes);
                    row.pubsub_published = Some(pubsub.published);
                    row.pubsub_received = Some(pubsub.received);
                    row.pubsub_unsent = Some(pubsub.unsent);
                    row.pubsub_missed = Some(pubsub.missed);
                    row.pubsub_stale = Some(pubsub.stale);
                    row.pubsub_losses = Some(pubsub.losses);
                }
            }
            Subject::Agent => {
                let Some(a) = row.name.parse().ok().and_then(|i: usize| self.agents.get(&i)) else { return };
                row.counters_ns = a.at_ns.checked_sub(begin_ns);
                row.attempted = Some(a.attempted);
                row.pending = Some(a.pending);
                row.tcp_connected = Some(a.tcp_connected);
                row.upgraded = Some(a.upgraded);
                row.joined = Some(a.joined);
                row.live = Some(a.live);
                row.failed = Some(a.failed);
                row.dropped = Some(a.dropped);
                row.deliveries = Some(a.deliveries);
                row.bytes_in = Some(a.bytes_in);
                row.bytes_out = Some(a.bytes_out);
                row.reconnecting = Some(a.reconnecting);
                row.reconnects = Some(a.reconnects);
            }
            Subject::Host | Subject::Harness => {}
        }
    }
}
