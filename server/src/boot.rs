//! Start and end of a server: limits, the port, what must exist before any thread has a descriptor table of its own,
//! the threads. Runs on the caller's thread.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use c2m_host::limits::{self, Nofile};
use c2m_host::root::ProcRoot;
use c2m_host::tables::{self, Need, TableError, TablePlan};
use c2m_host::{clock, cores, scheduling};
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{Engine, FileTables, ServerReady, ServerStats};
use rustix::event::EventfdFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use crate::backplane::{Backplane, Local, Nodes};
use crate::broadcast::Bus;
use crate::channel::Channels;
use crate::config::Config;
use crate::shard::Shard;
use crate::shard::drain::Ended;
use crate::shared::Shared;
use crate::tasks::{self, Tasks};
use crate::{handoff, http};

/// Stack of a shard's thread. Nothing recurses on data, and with private tables there may be over a hundred shards.
const SHARD_STACK_BYTES: usize = 512 * 1024;

/// Bytes of its stack that a shard's work reaches. They are touched at the start, so that what a server takes at rest does
/// not depend on what it has done.
const STACK_BYTES_USED: usize = 24 * 1024;

/// Descriptors of a table that are no clients: standard streams, signals, the port, the HTTP side and some of its
/// connections.
const RESERVE: u64 = 64;
/// Descriptors that each shard adds to a table: epoll instance, listening socket, eventfd.
const RESERVE_PER_SHARD: u64 = 3;

/// Starts servers.
pub struct Server;

/// A server that listens. Dropping it without [`Running::drain`] leaves its shards running to the end of the process, and
/// ends a tokio runtime where it stands.
pub struct Running {
    shared: Arc<Shared>,
    file_tables: FileTables,
    nofile: Nofile,
    carrier: Carrier,
    http: JoinHandle<io::Result<()>>,
    stop_http: oneshot::Sender<()>,
    /// Keeps the port for shards that come later than the first.
    _port: Socket,
}

/// What holds the connections.
enum Carrier {
    Shards(Vec<ShardThread>),
    Tasks(Tasks),
}

impl Carrier {
    /// The way in for what comes from other nodes.
    fn local(&self) -> Local {
        match self {
            Self::Shards(_) => Local::Bus,
            Self::Tasks(tasks) => Local::Tasks(tasks.rooms()),
        }
    }
}

/// How a drain ended.
#[derive(Clone, Debug)]
pub struct Drained {
    /// Connections that ended with a close frame before the deadline.
    pub closed: u64,
    /// Connections cut at the deadline.
    pub cut: u64,
    /// The last counters.
    pub stats: ServerStats,
}

impl Server {
    /// Starts a server with the rooms of [`Channels::of`]; when this returns every shard listens. Raises the soft
    /// descriptor limit of the process to the hard one. Errors: the address is in use or can't be bound, or a thread, socket or table can't be made.
    pub fn start(config: Config) -> io::Result<Running> {
        let channels = Channels::of(&config);
        Self::with_channels(config, &channels)
    }

    /// [`Server::start`], with other rooms.
    pub fn with_channels(config: Config, channels: &Channels) -> io::Result<Running> {
        let nofile = limits::raise_nofile_soft();
        let plan = plan(&config, nofile)?;
        let (port, address) = reserve_port(config.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()))?;
        // Private tables are copies: these descriptors keep their numbers in each.
        let wake = || rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let mailboxes = if config.engine == Engine::Shards { plan.threads } else { 0 };
        let wakes = (0..mailboxes).map(|_| wake()).collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
        let (http_send, http_receive) = handoff::pair()?;
        let pubsub = config.pubsub.clone().map(|url| Backplane::new(url, config.pubsub_subject.clone())).transpose()?;
        let (backplane, ends) = pubsub.unzip();
        let shards = plan.threads as usize;
        let shared = Arc::new(Shared::new(config, address, Bus::new(wakes), backplane, shards, http_send));

        let carrier = match shared.config.engine {
            Engine::Shards => Carrier::Shards(start_shards(&shared, channels, plan.file_tables)?),
            Engine::Tokio => Carrier::Tasks(Tasks::start(&shared, channels)?),
        };
        let (stop_http, stop) = oneshot::channel();
        let http_shared = Arc::clone(&shared);
        let nodes = ends.map(|ends| Nodes { ends, presence: channels.presence(), local: carrier.local() });
        let http = thread::Builder::new().name("http".to_owned());
        let http = http.spawn(move || http::run(http_receive, &http_shared, nodes, stop));
        match http {
            Ok(http) => {
                Ok(Running { shared, file_tables: plan.file_tables, nofile, carrier, http, stop_http, _port: port })
            }
            Err(error) => {
                if let Carrier::Shards(shards) = carrier {
                    end_shards(&shared, shards);
                }
                Err(error)
            }
        }
    }
}

/// Descriptors of a table that hold no client, of a server with so many threads.
fn reserve(engine: Engine, threads: u32) -> u64 {
    match engine {
        // Every table holds the eventfds of all shards.
        Engine::Shards => RESERVE + RESERVE_PER_SHARD * u64::from(threads),
        Engine::Tokio => RESERVE,
    }
}

/// What of the settings the tokio engine does not do is refused, never passed over.
fn plan_tasks(config: &Config, nofile: Nofile, cores: u32) -> io::Result<TablePlan> {
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let reserve = reserve(Engine::Tokio, 0);
    let most = tables::most_clients(&Need { clients: 0, hashed: false, reserve }, nofile.soft, 1);
    let limit = format!(
        "its tasks move between threads, so one descriptor table holds them all, and with the limit of {} in force \
         (RLIMIT_NOFILE) that is {most} clients",
        nofile.soft
    );
    if config.file_tables == Some(FileTables::Private) {
        return refused(format!("the tokio engine has no private file tables: {limit}; --engine shards has them"));
    }
    if cfg!(feature = "slow-fanout") {
        return refused("the tokio engine has no slow fan-out: build without the feature slow-fanout".to_owned());
    }
    let need = Need { clients: config.clients, hashed: false, reserve: if config.clients == 0 { 0 } else { reserve } };
    match tables::plan(&need, nofile.soft, cores, config.shards, Some(FileTables::Shared)) {
        Ok(plan) => Ok(plan),
        Err(TableError::TooMany { clients, .. }) => refused(format!(
            "the tokio engine can't hold {clients} clients: {limit}; raise it (ulimit -n {}), or use --engine shards",
            clients + reserve
        )),
        Err(error) => refused(error.to_string()),
    }
}

/// How many shards, and with which tables, hold the clients that are to come.
fn plan(config: &Config, nofile: Nofile) -> io::Result<TablePlan> {
    let cores = cores::read(&ProcRoot::default()).usable();
    if config.engine == Engine::Tokio {
        return plan_tasks(config, nofile, cores);
    }
    let mut threads = config.shards.unwrap_or(cores);
    loop {
        // The reserve depends on the answer; more shards never need fewer, and their number is bounded, so this ends.
        // Without a number of clients to hold there is no promise, and any limit will do.
        let reserve = if config.clients == 0 { 0 } else { reserve(Engine::Shards, threads) };
        let need = Need { clients: config.clients, hashed: true, reserve };
        let plan = tables::plan(&need, nofile.soft, cores, config.shards, config.file_tables)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        if plan.threads <= threads {
            return Ok(plan);
        }
        threads = plan.threads;
    }
}

/// Binds the address, not listening, in a way that fails when a server is listening there already, and then lets the
/// shards' sockets share it. Port 0 becomes a port. The order matters: with `SO_REUSEPORT` from the start, this would
/// succeed beside another server that has it too, and the two would share each other's clients.
fn reserve_port(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let named = |error: io::Error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                " (another program listens there, `ss -ltnp` says which; --listen takes another port, 0 any that is free)"
            }
            ErrorKind::AddrNotAvailable => {
                " (no address of this machine, `ip addr` lists them; 0.0.0.0 is all of them)"
            }
            ErrorKind::PermissionDenied => {
                " (ports below net.ipv4.ip_unprivileged_port_start take root; --listen takes another)"
            }
            _ => "",
        };
        io::Error::new(error.kind(), format!("{address}: {error}{remedy}"))
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).map_err(named)?;
    socket.set_reuse_port(true)?;
    let bound = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP address"))?;
    Ok((socket, bound))
}

type ShardThread = JoinHandle<io::Result<Ended>>;

/// Starts all shards and waits until each listens; with one that can't, ends the others.
fn start_shards(shared: &Arc<Shared>, channels: &Channels, tables: FileTables) -> io::Result<Vec<ShardThread>> {
    let mut threads = Vec::new();
    for id in 0..shared.stats.len() {
        // One after another: a table is copied while nothing else opens descriptors.
        match start_shard(id, shared, channels.clone(), tables) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                end_shards(shared, threads);
                return Err(io::Error::new(error.kind(), format!("shard {id}: {error}")));
            }
        }
    }
    Ok(threads)
}

fn start_shard(id: usize, shared: &Arc<Shared>, channels: Channels, tables: FileTables) -> io::Result<ShardThread> {
    let (listening, listens) = mpsc::sync_channel(1);
    let for_shard = Arc::clone(shared);
    let builder = thread::Builder::new().name(format!("shard-{id}")).stack_size(SHARD_STACK_BYTES);
    let thread = builder.spawn(move || {
        touch_stack();
        let open = || {
            if tables == FileTables::Private {
                limits::private_file_table()?;
            }
            Shard::open(id, for_shard, channels)
        };
        if let Err(error) = scheduling::prefer_throughput()
            && id == 0
        {
            eprintln!("shards share their cores as any other thread: SCHED_BATCH was refused: {error}");
        }
        let (opened, told) = match open() {
            Ok(opened) => (Some(opened), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // The starter waits for this, so it is there to hear it.
        let _ = listening.send(told);
        opened.map_or(Ok(Ended::default()), Shard::run)
    })?;
    listens.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// In a frame of its own, which is gone when the shard's work begins.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "the stack is what is to be touched")]
fn touch_stack() {
    std::hint::black_box([0xff_u8; STACK_BYTES_USED]);
}

/// Ends shards that were started in vain.
fn end_shards(shared: &Shared, threads: Vec<ShardThread>) {
    shared.begin_drain(clock::monotonic_ns());
    for thread in threads {
        // The failure that led here is the one to report.
        let _ = thread.join();
    }
}

impl Running {
    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The line that says the server listens.
    pub fn ready(&self) -> ServerReady {
        let config = &self.shared.config;
        let threads = self.shared.stats.len() as u32;
        let tables = if self.file_tables == FileTables::Private { threads } else { 1 };
        let need = Need { clients: 0, hashed: true, reserve: reserve(config.engine, threads) };
        ServerReady {
            protocol: CONTROL_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            address: self.address().to_string(),
            engine: Some(config.engine),
            shards: threads,
            file_tables: self.file_tables,
            nofile: self.nofile.soft,
            clients_max: tables::most_clients(&need, self.nofile.soft, tables),
            read_buffer_bytes: match config.engine {
                Engine::Shards => 0,
                Engine::Tokio => tasks::READ_BUFFER_BYTES as u64,
            },
            idle_timeout_s: u64::from(config.idle_timeout_s),
            max_message_bytes: config.max_message_bytes as u64,
            check_origin: !config.allow_origins.is_empty(),
        }
    }

    /// Counters, as they were last published.
    pub fn stats(&self) -> ServerStats {
        self.shared.total()
    }

    /// Stops accepting, sends close frames, waits for the clients up to the drain timeout, ends all threads. Errors: a
    /// shard or the HTTP thread had failed.
    pub fn drain(self) -> io::Result<Drained> {
        let patience = Duration::from_secs(u64::from(self.shared.config.drain_timeout_s));
        self.shared.begin_drain(clock::monotonic_ns() + patience.as_nanos() as u64);
        let ended = match self.carrier {
            Carrier::Shards(threads) => {
                let mut ended = Ended::default();
                for thread in threads {
                    let of_one = thread.join().map_err(|_| io::Error::other("a shard panicked"))??;
                    ended.closed += of_one.closed;
                    ended.cut += of_one.cut;
                }
                ended
            }
            Carrier::Tasks(tasks) => tasks.drain(patience)?,
        };
        // No receiver: the thread has ended already, and says why below.
        let _ = self.stop_http.send(());
        self.http.join().map_err(|_| io::Error::other("the HTTP thread panicked"))??;
        Ok(Drained { closed: ended.closed, cut: ended.cut, stats: self.shared.total() })
    }
}
