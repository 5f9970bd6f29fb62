//! What all threads of a server share: settings, mailboxes, published counters, the phase. Read-only or atomic.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use c2m_protocol::frame::Limits;
use c2m_schema::control::ServerStats;

use crate::backplane::Backplane;
use crate::broadcast::Bus;
use crate::config::Config;
use crate::stats::{self, ShardStats};

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// Ending; connections that remain at the deadline are cut.
    Draining { deadline_ns: u64 },
}

/// Shared by shards, the HTTP thread and the handle.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The bound address.
    pub(crate) address: SocketAddr,
    /// [`c2m_host::clock::monotonic_ns`] at the start.
    pub(crate) started_ns: u64,
    pub(crate) bus: Bus,
    /// The way to other nodes, if there are any.
    pub(crate) backplane: Option<Backplane>,
    /// By shard.
    pub(crate) stats: Vec<ShardStats>,
    /// Plain HTTP connections go in here.
    pub(crate) http: OwnedFd,
    /// 0 while serving.
    drain_deadline_ns: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        address: SocketAddr,
        bus: Bus,
        backplane: Option<Backplane>,
        shards: usize,
        http: OwnedFd,
    ) -> Self {
        Self {
            config,
            address,
            started_ns: c2m_host::clock::monotonic_ns(),
            bus,
            backplane,
            stats: (0..shards).map(|_| ShardStats::default()).collect(),
            http,
            drain_deadline_ns: AtomicU64::new(0),
        }
    }

    /// Counters, as the shards last published them.
    pub(crate) fn total(&self) -> ServerStats {
        ServerStats { pubsub: self.backplane.as_ref().map(Backplane::stats), ..stats::total(&self.stats) }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { max_message_bytes: self.config.max_message_bytes }
    }

    /// Bytes that may wait for one client. Never so few that the answers to one read and to one message would not fit.
    pub(crate) fn queue_bytes_max(&self) -> usize {
        let one_read = 4 * crate::shard::READ_BUFFER_BYTES;
        self.config.queue_bytes.max(2 * self.config.max_message_bytes + one_read)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.drain_deadline_ns.load(Ordering::Acquire) {
            0 => Phase::Serving,
            deadline_ns => Phase::Draining { deadline_ns },
        }
    }

    /// Begins the drain and wakes every shard for it.
    pub(crate) fn begin_drain(&self, deadline_ns: u64) {
        self.drain_deadline_ns.store(deadline_ns.max(1), Ordering::Release);
        self.bus.wake_all();
    }
}
