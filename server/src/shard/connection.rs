//! What a shard keeps of a client. At rest that is one [`Connection`] and one [`Membership`] per joined topic, and no
//! buffer: both boxes below are there only while a message is incomplete or the socket is full.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use c2m_protocol::frame::Partial;
use c2m_protocol::phoenix::{Ref, Serializer};

use super::outbound::Outbound;
use crate::slab::Slab;

/// Stands for no membership, and for the end of a chain of them.
pub(crate) const NONE: u32 = u32::MAX;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// HTTP: the request has not come in whole.
    Handshake,
    /// Phoenix channels.
    Phoenix(Serializer),
    /// Plain WebSocket that returns what it gets.
    Echo,
    /// The last word was said (a close frame, or an HTTP refusal) and is followed by a FIN; what still comes is discarded
    /// until the client closes too. A socket closed with unread input would send RST, which destroys the last word.
    Closing,
}

/// The beginning of a request head. Boxed, so that a connection does not pay for it for life.
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
}

/// A client's socket and where it stands.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// When the client was last heard of, in seconds since the server's start: the last whole message or control frame.
    /// In a handshake the time of the accept, when closing the time of the last word.
    pub(crate) last_seen_s: u32,
    /// First of the chain of memberships.
    pub(crate) memberships: u32,
    pub(crate) membership_count: u16,
    pub(crate) state: State,
    /// What came of a request head.
    pub(crate) head: Option<Box<Head>>,
    /// What came of a frame or message.
    pub(crate) inbound: Option<Box<Partial>>,
    /// What the socket did not take. While it is there, nothing is read: who does not listen is not listened to.
    pub(crate) outbound: Option<Box<Outbound>>,
}

/// One client in one topic.
pub(crate) struct Membership {
    pub(crate) connection: u32,
    pub(crate) topic: u32,
    /// Position in the topic's member list.
    pub(crate) position: u32,
    /// Next membership of the same connection.
    pub(crate) next: u32,
    /// The join's ref: what replies and pushes carry.
    pub(crate) join_ref: Ref,
    /// Tells this join from others that had or will have its number.
    pub(crate) generation: u32,
    /// The join came with a null `join_ref`, so its close and error carry null as well.
    pub(crate) joined_with_null: bool,
}

const _: () = assert!(Connection::entry_bytes() <= 48 && Membership::entry_bytes() <= 48);

impl Connection {
    pub(crate) fn new(socket: OwnedFd, now_s: u32) -> Self {
        Self {
            socket,
            last_seen_s: now_s,
            memberships: NONE,
            membership_count: 0,
            state: State::Handshake,
            head: None,
            inbound: None,
            outbound: None,
        }
    }

    /// Bytes in the slab.
    pub(crate) const fn entry_bytes() -> usize {
        Slab::<Self>::entry_bytes()
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Whether messages are exchanged.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Phoenix(_) | State::Echo)
    }
}

impl Membership {
    /// Bytes in the slab.
    pub(crate) const fn entry_bytes() -> usize {
        Slab::<Self>::entry_bytes()
    }

    /// The join ref as `phx_close` and `phx_error` carry it.
    pub(crate) fn wire_join_ref(&self) -> Ref {
        if self.joined_with_null { Ref::null() } else { self.join_ref.clone() }
    }
}
