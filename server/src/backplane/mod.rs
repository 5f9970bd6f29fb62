//! Several servers as one: broadcasts and presence go to the other nodes through NATS (`--pubsub`).
//!
//! A broadcast is delivered on its own node as ever. Besides, its shard [offers](Backplane::offer) it: one entry in a
//! bounded queue, and when that is full the broadcast is counted as unsent. What comes from other nodes goes into the
//! bus from outside of the shards and is never published again. Everything here runs on the runtime of the HTTP side.
//!
//! A node numbers its broadcasts, those that it could not publish as well, so that the others notice what they missed
//! ([`peers`]). NATS keeps the order of one connection, and what comes late is dropped: each member has the broadcasts of
//! one publisher in order and none twice. Nothing is stored or asked for again.

mod inward;
mod link;
mod outward;
mod peers;
mod queue;
mod url;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use c2m_schema::control::{PubsubState, PubsubStats};
use compact_str::CompactString;

pub(crate) use link::run;
pub use url::PubsubUrl;
pub(crate) use url::parse_subject;
pub(crate) use wire::Rooms;

use crate::broadcast::{Broadcast, Payload};
use crate::channel::Presence;
use crate::tasks;

use queue::Queue;

/// Names a node: drawn at each start.
pub(crate) type NodeId = u64;

/// A number that no other node has, as far as chance goes.
pub(crate) fn new_node_id() -> NodeId {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // Each such state is seeded by the operating system.
    RandomState::new().build_hasher().finish()
}

/// A broadcast on its way to other nodes.
pub(crate) struct Outgoing {
    topic: CompactString,
    event: CompactString,
    payload: Payload,
}

/// Counters, written on one thread, but for `unsent` and `dropped`.
#[derive(Default)]
struct Counts {
    connected: AtomicBool,
    nodes: AtomicU64,
    published: AtomicU64,
    received: AtomicU64,
    unsent: AtomicU64,
    missed: AtomicU64,
    stale: AtomicU64,
    losses: AtomicU64,
    /// Those of `unsent` that have no number yet.
    dropped: AtomicU64,
}

/// What shards and readers of counters have of the backplane.
pub(crate) struct Backplane {
    queue: Arc<Queue>,
    counts: Arc<Counts>,
}

/// What [`run`] takes.
pub(crate) struct Nodes {
    pub(crate) ends: Ends,
    pub(crate) presence: Option<Arc<Presence>>,
    pub(crate) local: Local,
}

/// How the members of this node are reached from outside of what carries them.
pub(crate) enum Local {
    /// Through the bus of the shards.
    Bus,
    /// Through the queues of the tokio engine's tasks.
    Tasks(Arc<tasks::Rooms>),
}

/// The other end of a [`Backplane`].
pub(crate) struct Ends {
    url: PubsubUrl,
    subject: String,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
}

impl Backplane {
    /// To be called before any thread has a descriptor table of its own.
    pub(crate) fn new(url: PubsubUrl, subject: String) -> io::Result<(Self, Ends)> {
        let queue = Arc::new(Queue::new()?);
        let counts = Arc::new(Counts::default());
        let ends = Ends { url, subject, queue: Arc::clone(&queue), counts: Arc::clone(&counts) };
        Ok((Self { queue, counts }, ends))
    }

    /// Takes a broadcast that this node's members have been sent, for those of other nodes. Never blocks.
    pub(crate) fn offer(&self, broadcast: &Broadcast) {
        let (topic, event, payload) = broadcast.parts();
        if !self.queue.push(Outgoing { topic: topic.clone(), event: event.clone(), payload: payload.clone() }) {
            add(&self.counts.unsent, 1);
            add(&self.counts.dropped, 1);
        }
    }

    pub(crate) fn stats(&self) -> PubsubStats {
        self.counts.stats()
    }
}

impl Counts {
    fn stats(&self) -> PubsubStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let is_connected = self.connected.load(Ordering::Relaxed);
        PubsubStats {
            state: if is_connected { PubsubState::Connected } else { PubsubState::Away },
            nodes: of(&self.nodes),
            published: of(&self.published),
            received: of(&self.received),
            unsent: of(&self.unsent),
            missed: of(&self.missed),
            stale: of(&self.stale),
            losses: of(&self.losses),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::queue::{QUEUE_BYTES_MAX, QUEUE_MAX};
    use super::*;
    use crate::broadcast::Bus;
    use crate::channel::Body;

    fn backplane() -> (Backplane, Ends) {
        Backplane::new("nats://127.0.0.1:1".parse().expect("a URL"), "test".to_owned()).expect("sockets")
    }

    fn offer(backplane: &Backplane, json: &str) {
        let bus = Bus::new(Vec::new());
        let permit = bus.permit().expect("free");
        let broadcast = Broadcast::new(permit, "rooms:lobby", "new:msg", &Body::Json(json.into()));
        backplane.offer(&broadcast.expect("an object"));
    }

    #[test]
    fn a_full_queue_counts_what_it_does_not_take_and_holds_no_permit() {
        let (backplane, ends) = backplane();
        for _ in 0..QUEUE_MAX + 3 {
            offer(&backplane, "{}");
        }
        assert_eq!(backplane.stats().unsent, 3);
        assert_eq!(ends.queue.len(), QUEUE_MAX);
        assert_eq!(ends.queue.pop().expect("the first").topic, "rooms:lobby");
        offer(&backplane, "{}");
        assert_eq!(backplane.stats(), PubsubStats { unsent: 3, ..PubsubStats::default() });
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_as_well() {
        let (backplane, ends) = backplane();
        let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(QUEUE_BYTES_MAX / 4));
        for _ in 0..4 {
            offer(&backplane, &large);
        }
        assert_eq!((ends.queue.len(), backplane.stats().unsent), (3, 1));
    }

    #[test]
    fn two_nodes_have_two_names() {
        assert_ne!(new_node_id(), new_node_id());
    }
}
