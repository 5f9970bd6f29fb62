//! Counters. A shard counts in plain integers of its own and publishes them once per turn of its loop into atomics of
//! its own; readers (`/metrics`, the stats line) sum over shards. Failures are rare and are kept by kind and code behind
//! a lock per shard that no reader holds for long. The tokio engine, whose tasks move between threads, has as many of these
//! as threads, and counts each connection in one of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use c2m_schema::control::{ErrorCount, ServerStats};

/// Kinds of failure, as they appear in [`ErrorCount::kind`]; what the code is.
pub(crate) mod kind {
    /// `accept` failed; errno.
    pub(crate) const ACCEPT: &str = "accept";
    /// A request that was answered with an error instead of an upgrade; HTTP status.
    pub(crate) const HTTP_REFUSED: &str = "http_refused";
    /// No whole request within the handshake timeout.
    pub(crate) const HANDSHAKE_TIMEOUT: &str = "handshake_timeout";
    /// Bytes that are not WebSocket frames; close code.
    pub(crate) const PROTOCOL: &str = "protocol";
    /// A message that is no Phoenix message; close code.
    pub(crate) const MALFORMED: &str = "malformed";
    /// Nothing came from the client within the idle timeout; close code.
    pub(crate) const IDLE_TIMEOUT: &str = "idle_timeout";
    /// The client's queue was full.
    pub(crate) const SLOW_CONSUMER: &str = "slow_consumer";
    /// The socket failed; errno.
    pub(crate) const SOCKET: &str = "socket";
    /// End of file without a close frame; 1006, which RFC 6455 §7.1.5 keeps for it.
    pub(crate) const EOF: &str = "eof";
    /// A close frame was sent and the client did not end the connection in time.
    pub(crate) const CLOSE_TIMEOUT: &str = "close_timeout";
    /// A push was refused because too many broadcasts were in flight. The connection lives on.
    pub(crate) const OVERLOADED: &str = "overloaded";
}

/// How Prometheus sees a counter.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    pub(crate) read: fn(&Counters) -> u64,
}

macro_rules! counters {
    ($($field:ident $name:literal $kind:literal $help:literal;)*) => {
        /// What one shard has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counters { $(#[doc = $help] pub(crate) $field: u64,)* }

        /// The same where others read it, and where tasks on many threads count.
        #[derive(Default)]
        pub(crate) struct Published { $(pub(crate) $field: AtomicU64,)* }

        impl Published {
            fn store(&self, counters: &Counters) { $(self.$field.store(counters.$field, Ordering::Relaxed);)* }
            fn load(&self) -> Counters { Counters { $($field: self.$field.load(Ordering::Relaxed),)* } }
        }

        /// Every counter, for `/metrics`.
        pub(crate) const METRICS: &[Metric] =
            &[$(Metric { name: $name, kind: $kind, help: $help, read: |counters| counters.$field },)*];
    };
}

counters! {
    connections "c2m_connections" "gauge" "Open sockets, handshakes included.";
    joined "c2m_joined" "gauge" "Channel memberships.";
    queued "c2m_queued_clients" "gauge" "Clients whose socket is full and for whom frames wait.";
    accepted "c2m_accepted_total" "counter" "Accepted sockets.";
    upgraded "c2m_upgraded_total" "counter" "Completed WebSocket upgrades.";
    joins "c2m_joins_total" "counter" "Joins answered ok.";
    messages "c2m_messages_total" "counter" "Messages from clients, heartbeats among them.";
    broadcasts "c2m_broadcasts_total" "counter" "Broadcasts begun, on the shard of the sender.";
    deliveries "c2m_deliveries_total" "counter" "Broadcast frames handed to the kernel in whole.";
    bytes_in "c2m_bytes_in_total" "counter" "Bytes read from sockets.";
    bytes_out "c2m_bytes_out_total" "counter" "Bytes written to sockets.";
    busy_ns "c2m_busy_nanoseconds_total" "counter" "Time that the shard's loop was at work and not waiting for something to do.";
}

/// What one shard publishes. Aligned so that two shards never write to one cache line.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ShardStats {
    published: Published,
    errors: Mutex<BTreeMap<(&'static str, i64), u64>>,
}

impl ShardStats {
    pub(crate) fn publish(&self, counters: &Counters) {
        self.published.store(counters);
    }

    /// For those who count here at once instead of publishing.
    pub(crate) fn live(&self) -> &Published {
        &self.published
    }

    pub(crate) fn counters(&self) -> Counters {
        self.published.load()
    }

    pub(crate) fn count_error(&self, kind: &'static str, code: i64) {
        let mut errors = self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *errors.entry((kind, code)).or_default() += 1;
    }

    pub(crate) fn errors(&self) -> BTreeMap<(&'static str, i64), u64> {
        self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// The sum over all shards.
pub(crate) fn total(shards: &[ShardStats]) -> ServerStats {
    let mut stats = ServerStats { at_ns: c2m_host::clock::monotonic_ns(), ..ServerStats::default() };
    let mut errors: BTreeMap<(&'static str, i64), u64> = BTreeMap::new();
    for shard in shards {
        let counters = shard.counters();
        stats.connections += counters.connections;
        stats.joined += counters.joined;
        stats.accepted += counters.accepted;
        stats.upgraded += counters.upgraded;
        stats.joins += counters.joins;
        stats.broadcasts += counters.broadcasts;
        stats.deliveries += counters.deliveries;
        stats.bytes_in += counters.bytes_in;
        stats.bytes_out += counters.bytes_out;
        for (key, count) in shard.errors() {
            *errors.entry(key).or_default() += count;
        }
    }
    let count = |((kind, code), count): ((&str, i64), u64)| ErrorCount { kind: kind.to_owned(), code, count };
    stats.errors = errors.into_iter().map(count).collect();
    stats
}
