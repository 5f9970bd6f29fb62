//! The everyday engine (`--engine tokio`): a multi-threaded tokio runtime, tokio-tungstenite, a task and a bounded queue
//! per connection. It is the baseline that shows what the usual way costs. Rooms, protocol, limits and counters are those of
//! the shards; only what carries them differs.
//!
//! - [`accept`]: new sockets, a task for each
//! - [`upgrade`]: from HTTP to WebSocket, to a refusal, or to the HTTP thread
//! - [`talk`]: the task's loop; [`closing`]: its end
//! - [`session`]: what a client says and hears; [`mailbox`]: its queue; [`rooms`]: who is in which topic
//! - [`counted`]: a socket whose bytes are counted
//!
//! Tasks move between threads, so all threads share one descriptor table.

mod accept;
mod closing;
mod counted;
mod mailbox;
mod rooms;
mod session;
mod talk;
mod upgrade;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::channel::Channels;
use crate::shard::drain::Ended;
use crate::shared::Shared;
use crate::stats::ShardStats;
use mailbox::{Ending, Mailbox};
pub(crate) use rooms::Rooms;

/// What a socket's read buffer holds, in place of tungstenite's 128 KiB, which each idle client would keep. A longer message
/// gets a buffer of its own size while it comes in.
pub(crate) const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes of small frames that are gathered for one write, in place of 128 KiB.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// Messages from members to themselves that may be under way.
const TIMERS_MAX: usize = 65_536;
/// How long the end of the runtime may take; tasks end at their next wait.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What all tasks share.
struct Engine {
    shared: Arc<Shared>,
    channels: Channels,
    rooms: Arc<Rooms>,
    /// Every connection, handshakes included, by number.
    connections: Mutex<HashMap<u32, Arc<Mailbox>>>,
    /// The last connection has ended.
    emptied: Notify,
    next: AtomicU32,
    timers: AtomicUsize,
    /// Connections that ended in order since the drain began.
    closed: AtomicU64,
}

impl Engine {
    fn connections(&self) -> MutexGuard<'_, HashMap<u32, Arc<Mailbox>>> {
        // A panic under this lock would have been one of the map's: nothing is half done.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where what concerns a connection is counted: always in one place, so that no gauge goes below zero.
    fn stats(&self, connection: u32) -> &ShardStats {
        &self.shared.stats[connection as usize % self.shared.stats.len()]
    }

    /// A connection is no more, or no longer of this engine. Once is enough.
    fn forget(&self, connection: u32) {
        let mut connections = self.connections();
        if connections.remove(&connection).is_none() {
            return;
        }
        self.stats(connection).live().connections.fetch_sub(1, Ordering::Relaxed);
        if connections.is_empty() {
            self.emptied.notify_one();
        }
    }
}

/// The engine at work.
pub(crate) struct Tasks {
    runtime: Runtime,
    engine: Arc<Engine>,
    acceptor: JoinHandle<()>,
    stop_accepting: Arc<Notify>,
}

impl Tasks {
    /// Starts as many threads as there are places for counters, and listens.
    pub(crate) fn start(shared: &Arc<Shared>, channels: &Channels) -> io::Result<Self> {
        let threads = shared.stats.len();
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("tokio").enable_all().build()?;
        let engine = Arc::new(Engine {
            shared: Arc::clone(shared),
            channels: channels.clone(),
            rooms: Arc::default(),
            connections: Mutex::default(),
            emptied: Notify::new(),
            next: AtomicU32::new(0),
            timers: AtomicUsize::new(0),
            closed: AtomicU64::new(0),
        });
        let stop_accepting = Arc::new(Notify::new());
        let acceptor = {
            let _context = runtime.enter();
            let listener = accept::listen(shared)?;
            tokio::spawn(accept::run(Arc::clone(&engine), listener, Arc::clone(&stop_accepting)))
        };
        Ok(Self { runtime, engine, acceptor, stop_accepting })
    }

    /// Who is in which topic.
    pub(crate) fn rooms(&self) -> Arc<Rooms> {
        Arc::clone(&self.engine.rooms)
    }

    /// Sends close frames to all, waits up to the deadline of the drain that has begun, ends the runtime.
    pub(crate) fn drain(self, patience: Duration) -> io::Result<Ended> {
        let Self { runtime, engine, acceptor, stop_accepting } = self;
        let accepted = runtime.block_on(async {
            stop_accepting.notify_one();
            let accepted = acceptor.await;
            engine.connections().values().for_each(|mailbox| mailbox.end(Ending::Drain));
            let all_gone = async {
                while !engine.connections().is_empty() {
                    engine.emptied.notified().await;
                }
            };
            // Who is left at the deadline is counted below.
            let _ = timeout(patience, all_gone).await;
            accepted
        });
        accepted.map_err(|_| io::Error::other("the task that accepts panicked"))?;
        let ended = Ended { closed: engine.closed.load(Ordering::Relaxed), cut: engine.connections().len() as u64 };
        runtime.shutdown_timeout(SHUTDOWN);
        if ended.cut > 0 {
            for stats in &engine.shared.stats {
                let live = stats.live();
                for gauge in [&live.connections, &live.joined, &live.queued] {
                    gauge.store(0, Ordering::Relaxed);
                }
            }
        }
        Ok(ended)
    }
}
