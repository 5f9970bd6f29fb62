//! A connection's task as a [`Session`]: of one connection, whose answers go through its own queue, behind whatever was
//! broadcast to it before.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use c2m_host::clock;
use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::{Message, Ref, Serializer};
use compact_str::CompactString;

use super::mailbox::Mailbox;
use super::rooms::{Seat, websocket};
use super::{Engine, TIMERS_MAX};
use crate::broadcast::Broadcast;
use crate::channel::{Body, Channels, MemberId};
use crate::session::{Calls as _, Left, Refused, Session};
use crate::shared::Shared;
use crate::stats::Published;

/// Names the only connection of a session.
pub(super) const SELF: u32 = 0;

/// One client in one topic.
struct Membership {
    topic: CompactString,
    join_ref: Ref,
    generation: u32,
    joined_with_null: bool,
}

/// What a task keeps of its client.
pub(super) struct Client {
    engine: Arc<Engine>,
    connection: u32,
    mailbox: Arc<Mailbox>,
    serializer: Serializer,
    memberships: Vec<Option<Membership>>,
    joins: u32,
    text: Vec<u8>,
    /// The close code to end with, once something was wrong.
    pub(super) failed: Option<u16>,
    /// A broadcast was begun since this was last reset.
    pub(super) has_published: bool,
}

impl Client {
    pub(super) fn new(engine: Arc<Engine>, connection: u32, mailbox: Arc<Mailbox>, serializer: Serializer) -> Self {
        Self {
            engine,
            connection,
            mailbox,
            serializer,
            memberships: Vec::new(),
            joins: 0,
            text: Vec::new(),
            failed: None,
            has_published: false,
        }
    }

    pub(super) fn serializer(&self) -> Serializer {
        self.serializer
    }

    fn live(&self) -> &Published {
        self.engine.stats(self.connection).live()
    }

    fn membership(&self, number: u32) -> Option<&Membership> {
        self.memberships.get(number as usize)?.as_ref()
    }

    /// A message from a member to itself has come due.
    pub(super) fn on_info(&mut self, member: MemberId, message: Box<dyn Any + Send>) {
        let number = member.membership;
        if self.member_id(number) != Some(member) {
            return;
        }
        let Some(topic) = self.topic_of(number).map(CompactString::from) else { return };
        self.call(SELF, self.serializer, &topic, number, None, |channel, context| {
            channel.handle_info(context, message)
        });
    }

    /// Ends all memberships, when nothing can be said to the client any more.
    pub(super) fn leave_all(&mut self) {
        let numbers = 0..self.memberships.len() as u32;
        for number in numbers.clone() {
            self.terminate(SELF, None, number);
        }
        for number in numbers {
            self.take_out(SELF, number);
        }
    }
}

impl Session for Client {
    fn shared(&self) -> &Shared {
        &self.engine.shared
    }

    fn channels(&self) -> &Channels {
        &self.engine.channels
    }

    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    fn count_error(&self, kind: &'static str, code: i64) {
        self.engine.stats(self.connection).count_error(kind, code);
    }

    fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    fn frame(&mut self, kind: Data) {
        // At rest a client keeps no buffer for what it is told.
        let text = Bytes::from(std::mem::take(&mut self.text));
        if let Some(message) = websocket(kind, text) {
            self.mailbox.send(message, false);
        }
    }

    fn fail(&mut self, _index: u32, kind: &'static str, code: u16) {
        self.count_error(kind, i64::from(code));
        self.failed = Some(code);
    }

    fn find_membership(&self, _index: u32, topic: &str) -> Option<u32> {
        let is_it = |membership: &Option<Membership>| membership.as_ref().is_some_and(|m| m.topic == topic);
        self.memberships.iter().position(is_it).map(|number| number as u32)
    }

    fn membership_count(&self, _index: u32) -> Option<u16> {
        Some(self.memberships.iter().flatten().count() as u16)
    }

    fn enter(&mut self, _index: u32, join: &Message<'_>) -> Option<u32> {
        let joined_with_null = join.join_ref.is_null();
        let join_ref = if joined_with_null { &join.reference } else { &join.join_ref };
        self.joins += 1;
        let membership = Membership {
            topic: (&*join.topic).into(),
            join_ref: join_ref.clone(),
            generation: self.joins,
            joined_with_null,
        };
        let number = self.memberships.iter().position(Option::is_none).unwrap_or(self.memberships.len());
        if number == self.memberships.len() {
            // Nearly every client joins one topic.
            self.memberships.reserve_exact(1);
            self.memberships.push(None);
        }
        self.memberships[number] = Some(membership);
        let member = MemberId { shard: self.connection, membership: number as u32, generation: self.joins };
        let seat = Seat { mailbox: Arc::clone(&self.mailbox), serializer: self.serializer };
        self.engine.rooms.enter(&join.topic, member, seat);
        self.live().joined.fetch_add(1, Ordering::Relaxed);
        self.live().joins.fetch_add(1, Ordering::Relaxed);
        Some(number as u32)
    }

    fn take_out(&mut self, _index: u32, number: u32) -> Option<Left> {
        let member = self.member_id(number)?;
        let Membership { topic, join_ref, joined_with_null, .. } = self.memberships.get_mut(number as usize)?.take()?;
        self.engine.rooms.leave(&topic, member);
        self.live().joined.fetch_sub(1, Ordering::Relaxed);
        Some(Left { wire_join_ref: if joined_with_null { Ref::null() } else { join_ref.clone() }, join_ref })
    }

    fn member_id(&self, number: u32) -> Option<MemberId> {
        let generation = self.membership(number)?.generation;
        Some(MemberId { shard: self.connection, membership: number, generation })
    }

    fn join_ref(&self, number: u32) -> Option<&Ref> {
        self.membership(number).map(|membership| &membership.join_ref)
    }

    fn topic_of(&self, number: u32) -> Option<&str> {
        self.membership(number).map(|membership| &*membership.topic)
    }

    fn publish(
        &mut self,
        _index: u32,
        member: MemberId,
        event: &str,
        body: &Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        let Some(topic) = self.topic_of(member.membership) else { return Ok(()) };
        let permit = self.engine.shared.bus.permit().ok_or(Refused::Overloaded)?;
        let broadcast = Broadcast::new(permit, topic, event, body).ok_or(Refused::Unencodable)?;
        self.engine.rooms.broadcast(&broadcast, (!to_self).then_some(member));
        if let Some(backplane) = &self.engine.shared.backplane {
            backplane.offer(&broadcast);
        }
        self.live().broadcasts.fetch_add(1, Ordering::Relaxed);
        self.has_published = true;
        Ok(())
    }

    /// Nothing waits here: a broadcast is under way only while its sender's thread walks over the members, so there are never
    /// more than threads.
    fn announce(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        self.publish(index, member, event, &body, to_self)
    }

    fn send_at(&mut self, at_ns: u64, member: MemberId, message: Box<dyn Any + Send>) -> bool {
        let engine = Arc::clone(&self.engine);
        if engine.timers.fetch_add(1, Ordering::Relaxed) >= TIMERS_MAX {
            engine.timers.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let delay = Duration::from_nanos(at_ns.saturating_sub(self.now_ns()));
        // Weak: a client that has gone is not kept for what it meant to hear.
        let mailbox = Arc::downgrade(&self.mailbox);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            engine.timers.fetch_sub(1, Ordering::Relaxed);
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.inform(member, message);
            }
        });
        true
    }
}
