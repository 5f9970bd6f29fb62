//! One measurement of the floor: connect all, read the kernel's memory, send to all. Blocks the calling thread, which
//! owns everything; the sockets live in threads that end with the process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use c2m_host::clock::monotonic_ns;
use c2m_host::root::ProcRoot;
use c2m_host::sampler::Sampler;
use c2m_host::tables::{self, Need};
use c2m_host::{cores, limits, ports};
use c2m_schema::control::FileTables;
use c2m_schema::rows::FloorRow;
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};

use super::ends::{ClientEnd, Report, ServerEnd, Sources};
use super::exchange::Exchange;
use crate::run::quiet;

/// Descriptors of a table beside its connections.
const RESERVE: u64 = 64;
const STACK_BYTES: usize = 256 * 1024;
/// What one connection, one delivery may take at the very most.
const SLOWEST: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(30);
/// Between broadcasts, so that the work behind the last delivery (acknowledgements) is not counted to the next.
const BETWEEN: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Connections.
    pub clients: u64,
    /// Bytes of one message on the wire.
    pub wire_bytes: u64,
    /// Messages to all, one after another.
    pub broadcasts: u32,
}

impl Question {
    /// The row of a measurement that has no figures.
    pub fn unanswered(self, reason: String) -> FloorRow {
        FloorRow {
            clients: self.clients,
            wire_bytes: self.wire_bytes,
            broadcasts: u64::from(self.broadcasts),
            reason,
            ..FloorRow::default()
        }
    }
}

/// Measures arrivals: as many connections, and on each the exchange of an arrival. Errors: as those of [`broadcasts`].
pub(super) fn arrivals(question: Question, exchange: Exchange) -> anyhow::Result<FloorRow> {
    let threads = threads(question.clients)?;
    // What ended before this has its memory freed by then.
    socket_bytes(&mut Sampler::new(ProcRoot::default(), ""));
    let arrive_ns = Ends::open(question, threads, Some(exchange))?.connect()?;
    Ok(FloorRow {
        threads: threads * 2,
        arrive_ns: Some(arrive_ns),
        arrivals_per_s: Some(per_second(question.clients, arrive_ns)),
        ..question.unanswered(String::new())
    })
}

/// Measures connects, memory and broadcasts. Errors: threads, descriptors or ports do not suffice, or something took
/// unreasonably long.
pub(super) fn broadcasts(question: Question) -> anyhow::Result<FloorRow> {
    let Question { clients, broadcasts, .. } = question;
    let threads = threads(clients)?;
    let mut sampler = Sampler::new(ProcRoot::default(), "");
    let mut ends = Ends::open(question, threads, None)?;
    let (_, base) = socket_bytes(&mut sampler);
    let connect_ns = ends.connect()?;
    let (source, held) = socket_bytes(&mut sampler);
    let mut times = Vec::with_capacity(broadcasts as usize);
    for _ in 0..broadcasts {
        thread::sleep(BETWEEN);
        times.push(ends.broadcast()?);
    }
    times.sort_unstable();
    let median = times.get(times.len().saturating_sub(1) / 2);
    let kernel = base.zip(held).map(|(base, held)| (held as f64 - base as f64) / clients as f64);
    Ok(FloorRow {
        threads: threads * 2,
        connect_ns: Some(connect_ns),
        connects_per_s: Some(per_second(clients, connect_ns)),
        kernel_bytes_per_client: kernel,
        kernel_source: if kernel.is_some() { source.to_owned() } else { String::new() },
        to_all_min_ns: times.first().map(|t| t.to_all_ns),
        to_all_p50_ns: median.map(|t| t.to_all_ns),
        to_all_max_ns: times.last().map(|t| t.to_all_ns),
        cpu_p50_ns: median.map(|t| t.cpu_ns),
        ..question.unanswered(String::new())
    })
}

fn per_second(clients: u64, ns: u64) -> f64 {
    clients as f64 / (ns as f64 / 1e9)
}

/// Kernel memory of sockets and where it was read, once the kernel does not free any more.
fn socket_bytes(sampler: &mut Sampler) -> (&'static str, Option<u64>) {
    let mut read = || {
        let host = sampler.host();
        let (source, slab) = match host.slab_socket_bytes {
            Some(slab) => ("slabinfo", Some(slab)),
            None => ("sunreclaim", host.slab_unreclaimable_bytes),
        };
        (source, slab.map(|slab| slab + host.tcp_memory_bytes.unwrap_or(0)))
    };
    let mut last = read();
    for _ in 0..quiet::READINGS_MAX {
        thread::sleep(quiet::INTERVAL);
        let next = read();
        let is_quiet = quiet::is_quiet(last.1, next.1);
        last = next;
        if is_quiet {
            break;
        }
    }
    last
}

/// Threads of each end: each holds its share in a descriptor table of its own, and there is one for each core at least.
fn threads(clients: u64) -> anyhow::Result<u64> {
    let limit = limits::raise_nofile_soft().soft;
    let need = Need { clients, hashed: true, reserve: RESERVE };
    let cores = cores::read(&ProcRoot::default()).usable();
    Ok(u64::from(tables::plan(&need, limit, cores, None, Some(FileTables::Private))?.threads))
}

/// One broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Time {
    to_all_ns: u64,
    cpu_ns: u64,
}

/// Handles of the threads.
struct Ends {
    clients: u64,
    client_threads: usize,
    message: Arc<[u8]>,
    accepted: Arc<AtomicU64>,
    wake: Arc<OwnedFd>,
    starts: Vec<Sender<()>>,
    broadcasts: Vec<Sender<Arc<[u8]>>>,
    reports: Receiver<Report>,
}

impl Ends {
    /// Starts all threads; the server's listen.
    fn open(question: Question, threads: u64, exchange: Option<Exchange>) -> anyhow::Result<Self> {
        let (reporter, reports) = mpsc::channel();
        let accepted = Arc::new(AtomicU64::new(0));
        let wake = Arc::new(rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        // Kept until every thread listens: it holds the port.
        let port = super::ends::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("bind to 127.0.0.1")?;
        let address: SocketAddr = rustix::net::getsockname(&port)?.try_into()?;
        let mut broadcasts = Vec::new();
        for _ in 0..threads {
            let (told, tells) = mpsc::channel();
            broadcasts.push(told);
            let end = ServerEnd {
                address,
                exchange,
                accepted: Arc::clone(&accepted),
                wake: Arc::clone(&wake),
                broadcasts: tells,
                reports: reporter.clone(),
            };
            spawn(move || end.run())?;
        }
        collect(&reports, question.clients, broadcasts.len(), "listen", |_| {})?;
        drop(port);
        let threads = threads.min(question.clients);
        let mut starts = Vec::new();
        for thread in 0..threads {
            let (started, start) = mpsc::channel();
            starts.push(started);
            let end = ClientEnd {
                server: address,
                sources: Sources { ports: ports::ephemeral_range(&ProcRoot::default()) },
                first: thread,
                stride: threads,
                clients: question.clients / threads + u64::from(thread < question.clients % threads),
                exchange,
                message_bytes: question.wire_bytes as usize,
                start,
                reports: reporter.clone(),
            };
            spawn(move || end.run())?;
        }
        Ok(Self {
            clients: question.clients,
            client_threads: threads as usize,
            message: vec![b'x'; question.wire_bytes as usize].into(),
            accepted,
            wake,
            starts,
            broadcasts,
            reports,
        })
    }

    /// Connects all clients: nanoseconds until the last is connected and accepted, and its exchange over.
    fn connect(&mut self) -> anyhow::Result<u64> {
        let begin_ns = monotonic_ns();
        for start in self.starts.drain(..) {
            start.send(()).context("a client thread has ended")?;
        }
        let mut last_ns = begin_ns;
        self.collect(self.client_threads, "connect", |report| {
            if let Report::Connected { at_ns } = report {
                last_ns = last_ns.max(*at_ns);
            }
        })?;
        // What is connected has been accepted by the kernel; the threads follow within a moment.
        let until = Instant::now() + PATIENCE;
        while self.accepted.load(Ordering::Relaxed) < self.clients {
            anyhow::ensure!(Instant::now() < until, "the server's end did not serve all connections");
            thread::sleep(Duration::from_millis(1));
            last_ns = monotonic_ns();
        }
        rustix::io::write(&*self.wake, &1u64.to_ne_bytes())?;
        let mut held = 0;
        self.collect(self.broadcasts.len(), "hold", |report| {
            if let Report::Holding { connections } = report {
                held += connections;
            }
        })?;
        anyhow::ensure!(held == self.clients, "{held} of {} connections are held", self.clients);
        Ok(last_ns - begin_ns)
    }

    /// Sends the message to all: time until the last has it, and the CPU time of this process meanwhile.
    fn broadcast(&mut self) -> anyhow::Result<Time> {
        let (begin_ns, cpu_ns) = (monotonic_ns(), process_cpu_ns());
        for thread in &self.broadcasts {
            thread.send(Arc::clone(&self.message)).context("a server thread has ended")?;
        }
        let mut last_ns = begin_ns;
        self.collect(self.client_threads, "receive a broadcast", |report| {
            if let Report::Reached { at_ns } = report {
                last_ns = last_ns.max(*at_ns);
            }
        })?;
        Ok(Time { to_all_ns: last_ns - begin_ns, cpu_ns: process_cpu_ns() - cpu_ns })
    }

    fn collect(&self, threads: usize, what: &str, take: impl FnMut(&Report)) -> anyhow::Result<()> {
        collect(&self.reports, self.clients, threads, what, take)
    }
}

/// Takes a report of each of `threads` threads, with the patience that work on `clients` connections may need.
fn collect(
    reports: &Receiver<Report>,
    clients: u64,
    threads: usize,
    what: &str,
    mut take: impl FnMut(&Report),
) -> anyhow::Result<()> {
    let bound = PATIENCE + SLOWEST * clients.try_into().unwrap_or(u32::MAX);
    let until = Instant::now() + bound;
    for done in 0..threads {
        match reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Report::Failed { error }) => anyhow::bail!("{error}"),
            Ok(report) => take(&report),
            Err(RecvTimeoutError::Timeout) => {
                anyhow::bail!("{} of {threads} threads did not {what} within {} s", threads - done, bound.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("all threads have ended"),
        }
    }
    Ok(())
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run).map(drop)
}

fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
