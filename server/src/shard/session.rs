//! A shard as a [`Session`]: of all the connections it holds.

use std::any::Any;

use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::{Message, Ref};

use super::Shard;
use super::connection::Membership;
use crate::channel::{Body, Channels, MemberId};
use crate::session::{Left, Refused, Session};
use crate::shared::Shared;

impl Session for Shard {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn channels(&self) -> &Channels {
        &self.channels
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn count_error(&self, kind: &'static str, code: i64) {
        self.stats().count_error(kind, code);
    }

    fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    fn frame(&mut self, kind: Data) {
        self.put_frame(kind);
    }

    fn fail(&mut self, index: u32, kind: &'static str, code: u16) {
        self.fail_frames(index, kind, code);
    }

    fn find_membership(&self, index: u32, topic: &str) -> Option<u32> {
        self.membership_in(index, topic)
    }

    fn membership_count(&self, index: u32) -> Option<u16> {
        self.connections.get(index).map(|connection| connection.membership_count)
    }

    fn enter(&mut self, index: u32, join: &Message<'_>) -> Option<u32> {
        self.join(index, join)
    }

    fn take_out(&mut self, index: u32, number: u32) -> Option<Left> {
        let membership = self.leave(index, number)?;
        Some(Left { wire_join_ref: membership.wire_join_ref(), join_ref: membership.join_ref })
    }

    fn member_id(&self, number: u32) -> Option<MemberId> {
        let generation = self.memberships.get(number)?.generation;
        Some(MemberId { shard: self.id as u32, membership: number, generation })
    }

    fn join_ref(&self, number: u32) -> Option<&Ref> {
        self.memberships.get(number).map(|membership: &Membership| &membership.join_ref)
    }

    fn topic_of(&self, number: u32) -> Option<&str> {
        self.topics.name(self.memberships.get(number)?.topic)
    }

    fn publish(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: &Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        self.broadcast(index, member, event, body, to_self)
    }

    fn announce(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        self.broadcast_or_wait(index, member, event, body, to_self)
    }

    fn send_at(&mut self, at_ns: u64, member: MemberId, message: Box<dyn Any + Send>) -> bool {
        self.timers.add(at_ns, member, message)
    }
}
