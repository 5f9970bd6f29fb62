//! Start and end of a server: limits, the port, what must exist before any thread has a descriptor table of its own,
//! the threads. Runs on the caller's thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use c2m_host::clock;
use c2m_host::limits::{self, Nofile};
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{FileTables, ServerReady, ServerStats};
use rustix::event::EventfdFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use crate::broadcast::Bus;
use crate::config::Config;
use crate::shard::Shard;
use crate::shard::drain::Ended;
use crate::shared::Shared;
use crate::{handoff, http, stats};

/// Stack of a shard's thread. Nothing recurses on data, and with private tables there may be over a hundred shards.
const SHARD_STACK_BYTES: usize = 512 * 1024;

/// Starts servers.
pub struct Server;

/// A server that listens. Dropping it without [`Running::drain`] leaves its threads running to the end of the process.
pub struct Running {
    shared: Arc<Shared>,
    file_tables: FileTables,
    nofile: Nofile,
    shards: Vec<JoinHandle<io::Result<Ended>>>,
    http: JoinHandle<io::Result<()>>,
    stop_http: oneshot::Sender<()>,
    /// Keeps the port for shards that come later than the first.
    _port: Socket,
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
    /// Starts a server; when this returns every shard listens. Raises the soft descriptor limit of the process to the
    /// hard one. Errors: the address is in use or can't be bound, or a thread, socket or table can't be made.
    pub fn start(config: Config) -> io::Result<Running> {
        let nofile = limits::raise_nofile_soft()?;
        let plan = plan(&config, nofile)?;
        let (port, address) = reserve_port(config.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()))?;
        // Private tables are copies: these descriptors keep their numbers in each.
        let wake = || rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let wakes = (0..plan.shards).map(|_| wake()).collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
        let (http_send, http_receive) = handoff::pair()?;
        let shared = Arc::new(Shared::new(config, address, Bus::new(wakes), plan.shards as usize, http_send));

        let shards = start_shards(&shared, plan.file_tables)?;
        let (stop_http, stop) = oneshot::channel();
        let http_shared = Arc::clone(&shared);
        let http =
            thread::Builder::new().name("http".to_owned()).spawn(|| http::run(http_receive, http_shared, stop))?;
        Ok(Running { shared, file_tables: plan.file_tables, nofile, shards, http, stop_http, _port: port })
    }
}

/// Shards and tables.
struct Plan {
    shards: u32,
    file_tables: FileTables,
}

fn plan(config: &Config, nofile: Nofile) -> io::Result<Plan> {
    let plan = c2m_host::tables::plan(config.clients, nofile.soft, config.shards, config.file_tables);
    let plan = plan.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Plan { shards: plan.threads, file_tables: plan.file_tables })
}

/// Binds the address, not listening, in a way that fails when a server is listening there already, and then lets the
/// shards' sockets share it. Port 0 becomes a port. The order matters: with `SO_REUSEPORT` from the start, this would
/// succeed beside another server that has it too, and the two would share each other's clients.
fn reserve_port(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).map_err(named)?;
    socket.set_reuse_port(true)?;
    let bound = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP address"))?;
    Ok((socket, bound))
}

/// Starts all shards and waits until each listens; with one that can't, ends the others.
fn start_shards(shared: &Arc<Shared>, tables: FileTables) -> io::Result<Vec<JoinHandle<io::Result<Ended>>>> {
    let mut shards = Vec::new();
    let mut failure = None;
    for id in 0..shared.stats.len() {
        // One after another: a table is copied while nothing else opens descriptors.
        match start_shard(id, shared, tables) {
            Ok(shard) => shards.push(shard),
            Err(error) => {
                failure = Some(io::Error::new(error.kind(), format!("shard {id}: {error}")));
                break;
            }
        }
    }
    let Some(failure) = failure else { return Ok(shards) };
    shared.begin_drain(clock::monotonic_ns());
    for shard in shards {
        let _ = shard.join();
    }
    Err(failure)
}

fn start_shard(id: usize, shared: &Arc<Shared>, tables: FileTables) -> io::Result<JoinHandle<io::Result<Ended>>> {
    let (listening, listens) = mpsc::sync_channel(1);
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name(format!("shard-{id}")).stack_size(SHARD_STACK_BYTES);
    let shard = thread.spawn(move || {
        let open = || {
            if tables == FileTables::Private {
                limits::private_file_table()?;
            }
            Shard::open(id, shared)
        };
        match open() {
            Ok(shard) => {
                let _ = listening.send(Ok(()));
                drop(listening);
                shard.run()
            }
            Err(error) => {
                let _ = listening.send(Err(error));
                Ok(Ended::default())
            }
        }
    })?;
    listens.recv().map_err(io::Error::other)??;
    Ok(shard)
}

impl Running {
    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The line that says the server listens.
    pub fn ready(&self) -> ServerReady {
        let config = &self.shared.config;
        ServerReady {
            protocol: CONTROL_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            address: self.address().to_string(),
            shards: self.shards.len() as u32,
            file_tables: self.file_tables,
            nofile: self.nofile.soft,
            idle_timeout_s: u64::from(config.idle_timeout_s),
            max_message_bytes: config.max_message_bytes as u64,
            check_origin: !config.allow_origins.is_empty(),
        }
    }

    /// Counters, as the shards last published them.
    pub fn stats(&self) -> ServerStats {
        stats::total(&self.shared.stats)
    }

    /// Stops accepting, sends close frames, waits for the clients up to the drain timeout, ends all threads. Errors: a
    /// shard or the HTTP thread had failed.
    pub fn drain(self) -> io::Result<Drained> {
        let timeout_ns = u64::from(self.shared.config.drain_timeout_s) * 1_000_000_000;
        self.shared.begin_drain(clock::monotonic_ns() + timeout_ns);
        let mut ended = Ended::default();
        for shard in self.shards {
            let of_shard = shard.join().map_err(|_| io::Error::other("a shard panicked"))??;
            ended.closed += of_shard.closed;
            ended.cut += of_shard.cut;
        }
        // No receiver: the thread has ended already, and says why below.
        let _ = self.stop_http.send(());
        self.http.join().map_err(|_| io::Error::other("the HTTP thread panicked"))??;
        Ok(Drained { closed: ended.closed, cut: ended.cut, stats: stats::total(&self.shared.stats) })
    }
}
