//! Broadcasts, and how they get from the shard that received one to all of them.
//!
//! A [`Broadcast`] is shared by all shards: its frame is encoded once per serializer, by whoever needs it first. The
//! [`Bus`] holds one bounded mailbox per shard. The number of broadcasts in flight in the whole process is bounded by
//! the size of a mailbox, so that a post can't fail: whoever asks for one too many is told so before anything is sent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use c2m_host::clock;
use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::phoenix::{self, Serializer};
use compact_str::CompactString;
use crossbeam_queue::ArrayQueue;

use crate::channel::Body;

/// Broadcasts that may be in flight in the process at a time, from the push until the last shard has walked its members.
pub(crate) const IN_FLIGHT_MAX: usize = 1024;

/// What a broadcast carries; shared with what goes to other nodes.
#[derive(Clone)]
pub(crate) enum Payload {
    Json(Arc<str>),
    Binary(Arc<[u8]>),
}

impl Payload {
    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Binary(data) => data.len(),
        }
    }
}

/// One message to all members of a topic.
pub(crate) struct Broadcast {
    pub(crate) topic: CompactString,
    event: CompactString,
    payload: Payload,
    frame_v1: OnceLock<Bytes>,
    frame_v2: OnceLock<Bytes>,
    begun_ns: u64,
    /// Members that were sent it, all shards together.
    reached: AtomicU32,
    /// Given back when the last shard drops the broadcast.
    permit: Permit,
}

impl Broadcast {
    /// None: such a message can't be written, for the body is no object, or is data with a topic or event over 255 bytes.
    pub(crate) fn new(permit: Permit, topic: &str, event: &str, body: &Body<'_>) -> Option<Self> {
        let is_short = |text: &str| u8::try_from(text.len()).is_ok();
        let payload = match body {
            Body::Json(json) if body.is_message() => Payload::Json((&**json).into()),
            Body::Binary(data) if is_short(topic) && is_short(event) => Payload::Binary((&**data).into()),
            Body::Json(_) | Body::Binary(_) => return None,
        };
        Some(Self {
            topic: topic.into(),
            event: event.into(),
            payload,
            frame_v1: OnceLock::new(),
            frame_v2: OnceLock::new(),
            begun_ns: clock::monotonic_ns(),
            reached: AtomicU32::new(0),
            permit,
        })
    }

    /// Topic, event and payload.
    pub(crate) fn parts(&self) -> (&CompactString, &CompactString, &Payload) {
        (&self.topic, &self.event, &self.payload)
    }

    /// So many more members were sent it. Told per step of a walk, not per member.
    pub(crate) fn add_reached(&self, members: usize) {
        self.reached.fetch_add(members as u32, Ordering::Relaxed);
    }

    /// The whole WebSocket frame, the same bytes for every member with this serializer; none for data to version 1.
    pub(crate) fn frame(&self, serializer: Serializer) -> Option<&Bytes> {
        let slot = match (serializer, &self.payload) {
            (Serializer::V1, Payload::Binary(_)) => return None,
            (Serializer::V1, Payload::Json(_)) => &self.frame_v1,
            (Serializer::V2, _) => &self.frame_v2,
        };
        Some(slot.get_or_init(|| self.encode(serializer)))
    }

    /// The message alone, for who frames it otherwise; none for data to version 1. Encoded anew by each call.
    pub(crate) fn message(&self, serializer: Serializer) -> Option<(Data, Bytes)> {
        if matches!((serializer, &self.payload), (Serializer::V1, Payload::Binary(_))) {
            return None;
        }
        let (kind, message) = self.encode_message(serializer);
        Some((kind, message.into()))
    }

    fn encode(&self, serializer: Serializer) -> Bytes {
        let (kind, message) = self.encode_message(serializer);
        let mut framed = Vec::with_capacity(message.len() + 10);
        frame::encode(&mut framed, OpCode::Data(kind), &message, None);
        Bytes::from(framed)
    }

    fn encode_message(&self, serializer: Serializer) -> (Data, Vec<u8>) {
        let mut message = Vec::new();
        let kind = match &self.payload {
            Payload::Json(json) => {
                message.reserve(json.len() + self.topic.len() + self.event.len() + 64);
                phoenix::encode_broadcast(&mut message, serializer, &self.topic, &self.event, json);
                Data::Text
            }
            Payload::Binary(data) => {
                phoenix::encode_binary_broadcast(&mut message, &self.topic, &self.event, data)
                    .expect("the lengths were looked at");
                Data::Binary
            }
        };
        (kind, message)
    }
}

/// The last shard is through.
impl Drop for Broadcast {
    fn drop(&mut self) {
        let duration_ns = clock::monotonic_ns().saturating_sub(self.begun_ns);
        let fan_out = FanOut { duration_us: duration_ns.div_ceil(1000), members: *self.reached.get_mut() };
        self.permit.0.last.store(fan_out.pack(), Ordering::Relaxed);
    }
}

/// How a broadcast went: from its begin until the last shard had given it to the last of its members, or to the queue of
/// one whose socket is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FanOut {
    /// Microseconds, begun ones too; at most 2^32 - 1.
    pub(crate) duration_us: u64,
    pub(crate) members: u32,
}

impl FanOut {
    /// Both in one word, so that a reader never sees halves of two. 0 stands for none: no broadcast takes 0 µs.
    fn pack(self) -> u64 {
        self.duration_us.clamp(1, u64::from(u32::MAX)) << 32 | u64::from(self.members)
    }

    fn unpack(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { duration_us: word >> 32, members: word as u32 })
    }
}

/// What is known of all broadcasts together.
#[derive(Default)]
struct Flights {
    in_flight: AtomicUsize,
    /// The one that ended last, [`FanOut::pack`]ed.
    last: AtomicU64,
}

/// The right to have one broadcast in flight.
pub(crate) struct Permit(Arc<Flights>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
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
    flights: Arc<Flights>,
}

impl Bus {
    /// A bus for as many shards as there are eventfds.
    pub(crate) fn new(wakes: Vec<OwnedFd>) -> Self {
        let mailbox = |wake| Mailbox { queue: ArrayQueue::new(IN_FLIGHT_MAX), wake, woken: AtomicBool::new(false) };
        Self { mailboxes: wakes.into_iter().map(mailbox).collect(), flights: Arc::default() }
    }

    /// The right to begin a broadcast, or none when [`IN_FLIGHT_MAX`] are under way.
    pub(crate) fn permit(&self) -> Option<Permit> {
        if self.flights.in_flight.fetch_add(1, Ordering::AcqRel) < IN_FLIGHT_MAX {
            return Some(Permit(Arc::clone(&self.flights)));
        }
        self.flights.in_flight.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// Makes every shard look.
    pub(crate) fn wake_all(&self) {
        (0..self.mailboxes.len()).for_each(|shard| self.wake(shard));
    }

    /// Broadcasts in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.in_flight.load(Ordering::Relaxed)
    }

    /// The broadcast that ended last, if any has.
    pub(crate) fn last_fan_out(&self) -> Option<FanOut> {
        FanOut::unpack(self.flights.last.load(Ordering::Relaxed))
    }

    /// Posts to every shard but `from`, which walks its own members without a detour. None: from outside of the shards.
    pub(crate) fn post(&self, from: Option<usize>, broadcast: &Arc<Broadcast>) {
        for (shard, mailbox) in self.mailboxes.iter().enumerate().filter(|(shard, _)| Some(*shard) != from) {
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
            let broadcast = Broadcast::new(permit, "rooms:lobby", "new:msg", &Body::EMPTY);
            bus.post(Some(0), &Arc::new(broadcast.expect("an object")));
        }
        bus.take(1, drop);
        assert!(bus.permit().is_none(), "shard 2 still holds every broadcast");
        bus.take(2, drop);
        assert_eq!(bus.in_flight(), 0);
    }

    #[test]
    fn the_last_shard_ends_the_fan_out() {
        let bus = bus(3);
        let broadcast = Broadcast::new(bus.permit().expect("free"), "rooms:lobby", "new:msg", &Body::EMPTY);
        bus.post(Some(0), &Arc::new(broadcast.expect("an object")));
        bus.take(1, |broadcast| broadcast.add_reached(40));
        assert_eq!(bus.last_fan_out(), None, "shard 2 has not begun");
        bus.take(2, |broadcast| broadcast.add_reached(2));
        let last = bus.last_fan_out().expect("all are through");
        assert!(last.members == 42 && last.duration_us > 0, "{last:?}");
    }

    #[test]
    fn a_fan_out_is_one_word() {
        let longest = u64::from(u32::MAX);
        for (duration_us, members, kept_us) in
            [(1, 0, 1), (0, 7, 1), (312_000, u32::MAX, 312_000), (longest + 1, 1, longest)]
        {
            let kept = FanOut { duration_us: kept_us, members };
            assert_eq!(FanOut::unpack(FanOut { duration_us, members }.pack()), Some(kept));
        }
        assert_eq!(FanOut::unpack(0), None);
    }

    /// Protocol point 47.
    #[test]
    fn a_frame_is_encoded_once_per_serializer() {
        let bus = bus(1);
        let body = Body::Json(r#"{"body":"x","user":null}"#.into());
        let broadcast =
            Broadcast::new(bus.permit().expect("free"), "rooms:lobby", "new:msg", &body).expect("an object");
        let frame = |serializer| broadcast.frame(serializer).expect("JSON is for all");
        let first = frame(Serializer::V2).clone();
        assert_eq!(&first[2..], br#"[null,null,"rooms:lobby","new:msg",{"body":"x","user":null}]"#);
        assert_eq!(first.as_ptr(), frame(Serializer::V2).as_ptr());
        assert_ne!(first, frame(Serializer::V1));
    }

    #[test]
    fn data_goes_to_version_2_only() {
        let bus = bus(1);
        let body = Body::Binary([3].as_slice().into());
        let broadcast = Broadcast::new(bus.permit().expect("free"), "bench:1", "bin", &body).expect("short names");
        assert_eq!(broadcast.frame(Serializer::V1), None);
        assert_eq!(broadcast.frame(Serializer::V2).expect("there")[..], *b"\x82\x0e\x02\x07\x03bench:1bin\x03");
    }

    /// Protocol points 25 and 29.
    #[test]
    fn what_no_client_could_read_is_refused_and_its_permit_comes_back() {
        let bus = bus(1);
        let long = "x".repeat(256);
        let data = Body::Binary([].as_slice().into());
        for (topic, event, body) in [
            ("rooms:lobby", "new:msg", &Body::Json("[1]".into())),
            ("rooms:lobby", "new:msg", &Body::Json("\"text\"".into())),
            (&*long, "new:msg", &data),
            ("bench:1", &*long, &data),
        ] {
            assert!(Broadcast::new(bus.permit().expect("free"), topic, event, body).is_none(), "{body:?}");
        }
        assert_eq!(bus.in_flight(), 0);
    }
}
