//! Broadcasts, and how they get from the shard that received one to all of them.
//!
//! A [`Broadcast`] is shared by all shards: its frame is encoded once per serializer, by whoever needs it first. The
//! [`Bus`] holds one bounded mailbox per shard. The number of broadcasts in flight in the whole process is bounded by
//! the size of a mailbox, so that a post can't fail: whoever asks for one too many is told so before anything is sent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::phoenix::{self, Serializer};
use compact_str::CompactString;
use crossbeam_queue::ArrayQueue;

/// Broadcasts that may be in flight in the process at a time, from the push until the last shard has walked its members.
pub(crate) const IN_FLIGHT_MAX: usize = 1024;

/// One message to all members of a topic.
pub(crate) struct Broadcast {
    pub(crate) topic: CompactString,
    event: CompactString,
    payload: Box<str>,
    frame_v1: OnceLock<Bytes>,
    frame_v2: OnceLock<Bytes>,
    /// Given back when the last shard drops the broadcast.
    _permit: Permit,
}

impl Broadcast {
    pub(crate) fn new(permit: Permit, topic: &str, event: &str, payload: &str) -> Self {
        Self {
            topic: topic.into(),
            event: event.into(),
            payload: payload.into(),
            frame_v1: OnceLock::new(),
            frame_v2: OnceLock::new(),
            _permit: permit,
        }
    }

    /// The whole WebSocket frame, the same bytes for every member with this serializer.
    pub(crate) fn frame(&self, serializer: Serializer) -> &Bytes {
        let slot = match serializer {
            Serializer::V1 => &self.frame_v1,
            Serializer::V2 => &self.frame_v2,
        };
        slot.get_or_init(|| {
            let mut text = Vec::with_capacity(self.payload.len() + self.topic.len() + self.event.len() + 64);
            phoenix::encode_broadcast(&mut text, serializer, &self.topic, &self.event, &self.payload);
            let mut framed = Vec::with_capacity(text.len() + 10);
            frame::encode(&mut framed, OpCode::Data(Data::Text), &text, None);
            Bytes::from(framed)
        })
    }
}

/// The right to have one broadcast in flight.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Mailbox {
    queue: ArrayQueue<Arc<Broadcast>>,
    /// An eventfd made before any thread had a descriptor table of its own, so its number means the same in all.
    wake: OwnedFd,
    /// Whether the owner was woken and has not looked yet; saves a system call per post to a busy shard.
    woken: AtomicBool,
}

/// The mailboxes of all shards.
pub(crate) struct Bus {
    mailboxes: Box<[Mailbox]>,
    in_flight: Arc<AtomicUsize>,
}

impl Bus {
    /// A bus for as many shards as there are eventfds.
    pub(crate) fn new(wakes: Vec<OwnedFd>) -> Self {
        let mailbox = |wake| Mailbox { queue: ArrayQueue::new(IN_FLIGHT_MAX), wake, woken: AtomicBool::new(false) };
        Self { mailboxes: wakes.into_iter().map(mailbox).collect(), in_flight: Arc::default() }
    }

    /// The right to begin a broadcast, or none when [`IN_FLIGHT_MAX`] are under way.
    pub(crate) fn permit(&self) -> Option<Permit> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < IN_FLIGHT_MAX {
            return Some(Permit(Arc::clone(&self.in_flight)));
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// Broadcasts in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Posts to every shard but `from`, which walks its own members without a detour.
    pub(crate) fn post(&self, from: usize, broadcast: &Arc<Broadcast>) {
        for (shard, mailbox) in self.mailboxes.iter().enumerate().filter(|(shard, _)| *shard != from) {
            let pushed = mailbox.queue.push(Arc::clone(broadcast)).is_ok();
            assert!(pushed, "a mailbox holds as many broadcasts as may be in flight");
            self.wake(shard);
        }
    }

    /// Makes a shard look at its mailbox and at the server's phase.
    pub(crate) fn wake(&self, shard: usize) {
        let mailbox = &self.mailboxes[shard];
        if !mailbox.woken.swap(true, Ordering::AcqRel) {
            // An eventfd refuses a write only at 2^64 - 1, which would be a wake-up already.
            let _ = rustix::io::write(&mailbox.wake, &1_u64.to_ne_bytes());
        }
    }

    /// Hands the broadcasts waiting for `shard` to `take`, in order.
    pub(crate) fn take(&self, shard: usize, mut take: impl FnMut(Arc<Broadcast>)) {
        let mailbox = &self.mailboxes[shard];
        mailbox.woken.swap(false, Ordering::AcqRel);
        while let Some(broadcast) = mailbox.queue.pop() {
            take(broadcast);
        }
    }

    /// The eventfd that wakes `shard`.
    pub(crate) fn wake_fd(&self, shard: usize) -> BorrowedFd<'_> {
        self.mailboxes[shard].wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(shards: usize) -> Bus {
        let wake = |_| rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("eventfd");
        Bus::new((0..shards).map(wake).collect())
    }

    #[test]
    fn a_permit_comes_back_when_the_last_shard_is_done() {
        let bus = bus(3);
        let permits: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| bus.permit().expect("below the limit")).collect();
        assert!(bus.permit().is_none());
        for permit in permits {
            bus.post(0, &Arc::new(Broadcast::new(permit, "rooms:lobby", "new:msg", "{}")));
        }
        bus.take(1, drop);
        assert!(bus.permit().is_none(), "shard 2 still holds every broadcast");
        bus.take(2, drop);
        assert_eq!(bus.in_flight(), 0);
    }

    #[test]
    fn a_frame_is_encoded_once_per_serializer() {
        let bus = bus(1);
        let broadcast =
            Broadcast::new(bus.permit().expect("free"), "rooms:lobby", "new:msg", r#"{"body":"x","user":null}"#);
        let first = broadcast.frame(Serializer::V2).clone();
        assert_eq!(&first[2..], br#"[null,null,"rooms:lobby","new:msg",{"body":"x","user":null}]"#);
        assert_eq!(first.as_ptr(), broadcast.frame(Serializer::V2).as_ptr());
        assert_ne!(first, broadcast.frame(Serializer::V1));
    }
}
