//! What is said between a client and the rooms, whichever engine carries it. An engine is a [`Session`]: it knows who is in
//! which room and where bytes go. What a message means ([`Messages`]) and what becomes of a channel's wishes ([`Calls`]) is
//! written once, for all engines, and knows nothing of sockets, threads or tasks.

mod calls;
mod messages;

use std::any::Any;

use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::{Message, Ref};

use crate::channel::{Body, Channels, MemberId};
use crate::shared::Shared;

pub(crate) use calls::Calls;
pub(crate) use messages::Messages;

/// A body that can't be sent to a client: data to one of version 1, no object, or a field that is too long.
pub(crate) struct Unencodable;

/// Why nothing was broadcast.
pub(crate) enum Refused {
    /// Too many broadcasts are under way.
    Overloaded,
    /// The body is no object, or a field too long to go with data.
    Unencodable,
}

/// What stays of a membership that has ended.
pub(crate) struct Left {
    /// The join's ref.
    pub(crate) join_ref: Ref,
    /// The same as `phx_close` and `phx_error` carry it.
    pub(crate) wire_join_ref: Ref,
}

/// What an engine provides. `index` names the connection, `number` one of its memberships.
pub(crate) trait Session {
    fn shared(&self) -> &Shared;
    fn channels(&self) -> &Channels;
    /// Nanoseconds of this host's monotonic clock.
    fn now_ns(&self) -> u64;
    fn count_error(&self, kind: &'static str, code: i64);

    /// Where the message to be sent next is written; empty in between.
    fn text(&mut self) -> &mut Vec<u8>;
    /// Sends what [`Session::text`] holds to the client being handled, behind all that was sent to it before.
    fn frame(&mut self, kind: Data);
    /// Closes because of what the client sent; counted under `kind` and `code`.
    fn fail(&mut self, index: u32, kind: &'static str, code: u16);

    /// The membership of a connection in a topic.
    fn find_membership(&self, index: u32, topic: &str) -> Option<u32>;
    /// How many there are of a connection.
    fn membership_count(&self, index: u32) -> Option<u16>;
    /// Makes a connection a member of the topic of its join.
    fn enter(&mut self, index: u32, join: &Message<'_>) -> Option<u32>;
    /// Ends a membership.
    fn take_out(&mut self, index: u32, number: u32) -> Option<Left>;
    /// The name of a membership among all that there are.
    fn member_id(&self, number: u32) -> Option<MemberId>;
    fn join_ref(&self, number: u32) -> Option<&Ref>;
    fn topic_of(&self, number: u32) -> Option<&str>;

    /// Broadcasts to the topic of a member of connection `index`: to the member itself as well, before anything that is
    /// sent to it later, if `to_self`.
    fn publish(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: &Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused>;
    /// As [`Session::publish`], but with too many broadcasts under way this one waits for its turn.
    fn announce(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused>;
    /// Has a message from a member to itself delivered later; tells whether there was room for one more.
    fn send_at(&mut self, at_ns: u64, member: MemberId, message: Box<dyn Any + Send>) -> bool;
}
