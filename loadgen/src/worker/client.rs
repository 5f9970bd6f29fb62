//! One client at rest: 48 bytes, and not one to spare. What it needs beyond that, it owns only while it needs it.

use std::os::fd::OwnedFd;

use c2m_protocol::frame::Partial;

use crate::ledger::Seen;
use crate::sources::Slot;

/// How far a client has come. It only ever moves on, unless it comes back from a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Connecting,
    Upgrading,
    Joining,
    Joined,
    /// Its channel was lost, and it will join again on the same connection.
    Errored,
    /// Its connection was lost, and it will connect again; it owns nothing until then.
    Away,
    /// Failed or lost; it owns nothing any more.
    Gone,
}

/// A client of one worker.
#[derive(Debug)]
pub(crate) struct Client {
    /// Bytes that don't fit into a read or a write; rare.
    pub(crate) rest: Option<Box<Rest>>,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) seen: Seen,
    pub(crate) slot: Slot,
    /// When the last heartbeat sent was due, or the join was read; microseconds of the monotonic clock, wrapping.
    pub(crate) beat_us: u32,
    /// Heartbeats sent, wrapping.
    pub(crate) beats: u16,
    /// The newest of them that was answered.
    pub(crate) beats_answered: u16,
    pub(crate) state: State,
    /// A control frame came since a heartbeat was left unanswered.
    pub(crate) heard: bool,
    /// When the last one came; tenths of a second of the monotonic clock, wrapping.
    pub(crate) heard_ds: u16,
}

const _: () = assert!(size_of::<Client>() <= 48, "a client at rest is tens of bytes");

/// What a client owns in the middle of a message.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Front of an answer to the upgrade request.
    pub(crate) head: Vec<u8>,
    /// Front of a frame or message.
    pub(crate) partial: Option<Box<Partial>>,
    /// What the socket did not take.
    pub(crate) unsent: Vec<u8>,
}

impl Rest {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.partial.is_none() && self.unsent.is_empty()
    }
}

impl Client {
    /// A client whose connect was begun.
    pub(crate) fn connecting(socket: OwnedFd, slot: Slot) -> Self {
        Self { socket: Some(socket), slot, state: State::Connecting, ..Self::gone() }
    }

    /// A client that failed at once.
    pub(crate) fn gone() -> Self {
        Self {
            rest: None,
            socket: None,
            seen: Seen::default(),
            slot: 0,
            beat_us: 0,
            beats: 0,
            beats_answered: 0,
            state: State::Gone,
            heard: false,
            heard_ds: 0,
        }
    }

    pub(crate) fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Frees the box when nothing is in it.
    pub(crate) fn settle_rest(&mut self) {
        if self.rest.as_deref().is_some_and(Rest::is_empty) {
            self.rest = None;
        }
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.rest.as_deref().is_some_and(|rest| !rest.unsent.is_empty())
    }
}
