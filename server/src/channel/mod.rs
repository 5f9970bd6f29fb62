//! What rooms do. A [`Channel`] is one kind of room: it decides on joins and messages, and says through its [`Context`]
//! what is to be sent; the server carries that out. It is shared by all shards and called on their threads, so it must
//! not block; what it keeps of its own it guards itself. The names are those of `Phoenix.Channel`.
//!
//! ```
//! use c2m_server::channel::{Body, Channel, Channels, Context, Join, Outcome, Payload};
//!
//! /// A room whose members hear how often it was knocked at.
//! #[derive(Default)]
//! struct Counting(std::sync::atomic::AtomicU64);
//!
//! impl Channel for Counting {
//!     fn join<'m>(&self, topic: &'m str, _params: Payload<'m>) -> Join<'m> {
//!         if topic == "counting:closed" {
//!             return Join::Refused(Body::object(&[("reason", "closed")]));
//!         }
//!         Join::Accepted(Body::EMPTY)
//!     }
//!
//!     fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, _payload: Payload<'m>) -> Outcome<'m> {
//!         if event != "knock" {
//!             return Outcome::Crash;
//!         }
//!         let knocks = 1 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         context.broadcast("knocked", Body::object(&[("knocks", knocks)]));
//!         Outcome::ok(Body::EMPTY)
//!     }
//! }
//!
//! let config = c2m_server::Config { shards: Some(1), ..Default::default() };
//! let channels = Channels::of(&config).route("counting:*", Counting::default());
//! let server = c2m_server::Server::with_channels(config, &channels)?;
//! assert_ne!(server.address().port(), 0);
//! server.drain()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod bench;
mod chat;
mod context;
mod presence;
mod relay;
mod routes;

pub use c2m_protocol::phoenix::Payload;
pub use context::{Context, MemberId};
pub use routes::Channels;

pub(crate) use context::Effect;
pub(crate) use presence::{DIFF as PRESENCE_DIFF, Meta, Presence};

use std::any::Any;
use std::borrow::Cow;

use serde::Serialize;

/// One kind of room.
pub trait Channel: Send + Sync {
    /// Decides on a join with the client's `params`. What is to be said to a newcomer beyond the reply is said in
    /// [`Channel::after_join`].
    fn join<'m>(&self, topic: &'m str, params: Payload<'m>) -> Join<'m>;

    /// A client has joined and had its reply (in Phoenix: a message that `join/3` sends to itself). A reply given here is
    /// not sent.
    fn after_join<'m>(&self, _context: &mut Context<'m>, _params: Payload<'m>) -> Outcome<'m> {
        Outcome::NoReply
    }

    /// Handles what a member pushed.
    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m>;

    /// Handles what was sent to this member by [`Context::send_at`]. A reply given here is not sent.
    fn handle_info<'m>(&self, _context: &mut Context<'m>, _message: Box<dyn Any + Send>) -> Outcome<'m> {
        Outcome::NoReply
    }

    /// A member goes: it leaves, its connection has ended, or its channel has crashed. What is pushed here reaches a
    /// member that leaves, before the reply to that.
    fn terminate(&self, _context: &mut Context<'_>) {}
}

/// What becomes of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join<'m> {
    /// Reply ok with this.
    Accepted(Body<'m>),
    /// Reply error with this; the socket goes on.
    Refused(Body<'m>),
    /// The handler failed: reply error, `{"reason":"join crashed"}`.
    Crash,
}

/// What becomes of a message to a joined channel, after what the context was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'m> {
    /// Go on without a reply.
    NoReply,
    /// Reply and go on.
    Reply(Status, Body<'m>),
    /// End the channel in order (`phx_close`), after a reply if there is one.
    Stop(Option<(Status, Body<'m>)>),
    /// The handler failed, or takes no such event: the channel ends with `phx_error`.
    Crash,
}

impl<'m> Outcome<'m> {
    /// Reply ok.
    pub fn ok(body: Body<'m>) -> Self {
        Self::Reply(Status::Ok, body)
    }

    /// Reply error with a reason.
    pub fn error(reason: &str) -> Self {
        Self::Reply(Status::Error, Body::object(&[("reason", reason)]))
    }
}

/// Status of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `ok`
    Ok,
    /// `error`
    Error,
}

impl Status {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// What a message or reply carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'m> {
    /// The text of one JSON object, sent as it is. A push or broadcast of anything else crashes the channel, as in Phoenix,
    /// whose serializer refuses it.
    Json(Cow<'m, str>),
    /// Data of a binary message. Only version 2 has them: nothing is sent to members with version 1, and a reply to one
    /// crashes the channel.
    Binary(Cow<'m, [u8]>),
}

impl Body<'_> {
    /// `{}`
    pub const EMPTY: Body<'static> = Body::Json(Cow::Borrowed("{}"));

    /// The members of an object.
    ///
    /// # Panics
    /// When a value can't be written as JSON, such as a map whose keys are no strings.
    pub fn object<V: Serialize>(members: &[(&str, V)]) -> Body<'static> {
        let members: std::collections::BTreeMap<&str, &V> =
            members.iter().map(|(name, value)| (*name, value)).collect();
        Body::Json(Cow::Owned(serde_json::to_string(&members).expect("values are JSON")))
    }

    /// Whether it may be pushed: an object or data.
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Self::Json(json) => json.trim_ascii_start().starts_with('{'),
            Self::Binary(_) => true,
        }
    }
}

impl<'m> From<Payload<'m>> for Body<'m> {
    fn from(payload: Payload<'m>) -> Self {
        match payload {
            Payload::Json(json) => Self::Json(Cow::Borrowed(json)),
            Payload::Binary(bytes) => Self::Binary(Cow::Borrowed(bytes)),
        }
    }
}
