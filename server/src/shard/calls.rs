//! Calls to channels, and the carrying out of what they ask for.

use std::any::Any;

use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::{self, Message, Serializer};

use super::Shard;
use super::connection::Membership;
use super::fanout::Refused;
use crate::channel::{Body, Channel, Context, Effect, MemberId, Outcome, Status};
use crate::stats::kind;

/// A body that can't be sent to a client: data to one of version 1, no object, or a field that is too long.
pub(crate) struct Unencodable;

/// Why an effect did not come about.
enum Failure {
    /// Too many broadcasts under way.
    Overloaded,
    /// The channel asked for what can't be.
    Fault,
}

impl From<Unencodable> for Failure {
    fn from(_: Unencodable) -> Self {
        Self::Fault
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded => Self::Overloaded,
            Refused::Unencodable => Self::Fault,
        }
    }
}

impl Shard {
    /// A message for a joined channel.
    pub(crate) fn on_push(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, number: u32) {
        self.call(index, serializer, &message.topic, number, Some(message), |channel, context| {
            channel.handle_in(context, &message.event, message.payload)
        });
    }

    /// A client has joined and been told so.
    pub(crate) fn after_join(&mut self, index: u32, serializer: Serializer, join: &Message<'_>, number: u32) {
        self.call(index, serializer, &join.topic, number, None, |channel, context| {
            channel.after_join(context, join.payload)
        });
    }

    /// A message from a member to itself has come due.
    pub(crate) fn on_info(&mut self, member: MemberId, message: Box<dyn Any + Send>) {
        let number = member.membership;
        if self.member_id(number) != Some(member) {
            return;
        }
        let Some(&Membership { connection, topic, .. }) = self.memberships.get(number) else { return };
        let Some(serializer) = self.serializer(connection) else { return };
        let Some(topic) = self.topics.name(topic).map(compact_str::CompactString::from) else { return };
        self.call(connection, serializer, &topic, number, None, |channel, context| {
            channel.handle_info(context, message)
        });
        self.flush_reply(connection);
    }

    /// The name of a membership.
    pub(crate) fn member_id(&self, number: u32) -> Option<MemberId> {
        let generation = self.memberships.get(number)?.generation;
        Some(MemberId { shard: self.id as u32, membership: number, generation })
    }

    /// Calls the channel of a membership, does what it asks for, and acts on the outcome; `to` is the message to reply to.
    fn call<'m>(
        &mut self,
        index: u32,
        serializer: Serializer,
        topic: &'m str,
        number: u32,
        to: Option<&Message<'_>>,
        handle: impl FnOnce(&dyn Channel, &mut Context<'m>) -> Outcome<'m>,
    ) {
        let Some(member) = self.member_id(number) else { return };
        let Some(channel) = self.channels.find(topic) else { return };
        let mut context = Context::new(topic, member, self.now_ns);
        let outcome = handle(channel, &mut context);
        let done = self.carry_out(index, Some(serializer), member, context.effects);
        let (reply, stops) = match (done, outcome) {
            (Err(Failure::Fault), _) | (_, Outcome::Crash) => return self.crash(index, serializer, topic, number),
            (_, Outcome::NoReply) => (None, false),
            (Ok(()), Outcome::Reply(status, body)) => (Some((status, body)), false),
            (Ok(()), Outcome::Stop(reply)) => (reply, true),
            (Err(Failure::Overloaded), outcome) => {
                let overloaded = (Status::Error, Body::Json(r#"{"reason":"overloaded"}"#.into()));
                (Some(overloaded), matches!(outcome, Outcome::Stop(_)))
            }
        };
        if let (Some(to), Some((status, body))) = (to, reply) {
            let Some(join_ref) = self.memberships.get(number).map(|membership| membership.join_ref.clone()) else {
                return;
            };
            if self.reply(serializer, &join_ref, to, status, &body).is_err() {
                return self.crash(index, serializer, topic, number);
            }
        }
        if stops && let Some(membership) = self.end(index, serializer, number) {
            self.phx_close(serializer, &membership, topic);
        }
    }

    /// Does what a call asked for. Where nobody `listens`, pushes go nowhere. The first failure is the result; what comes
    /// after it is done all the same, but for a fault.
    fn carry_out(
        &mut self,
        index: u32,
        listens: Option<Serializer>,
        member: MemberId,
        effects: Vec<Effect<'_>>,
    ) -> Result<(), Failure> {
        let mut done = Ok(());
        for effect in effects {
            match self.effect(index, listens, member, effect) {
                Ok(()) => {}
                Err(Failure::Fault) => return Err(Failure::Fault),
                Err(Failure::Overloaded) => {
                    self.stats().count_error(kind::OVERLOADED, 0);
                    done = Err(Failure::Overloaded);
                }
            }
        }
        done
    }

    fn effect(
        &mut self,
        index: u32,
        listens: Option<Serializer>,
        member: MemberId,
        effect: Effect<'_>,
    ) -> Result<(), Failure> {
        let number = member.membership;
        match effect {
            Effect::Push { event, body } => {
                if let Some(serializer) = listens {
                    self.push(serializer, number, &event, &body)?;
                }
            }
            Effect::Broadcast { event, body, to_self, can_wait: false } => {
                self.publish(index, member, &event, &body, to_self && listens.is_some())?;
            }
            Effect::Broadcast { event, body, to_self, can_wait: true } => {
                self.announce(index, member, &event, body, to_self && listens.is_some())?;
            }
            Effect::SendAt { at_ns, message } => {
                if !self.timers.add(at_ns, member, message) {
                    self.stats().count_error(kind::OVERLOADED, 0);
                    return Err(Failure::Fault);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, serializer: Serializer, number: u32, event: &str, body: &Body<'_>) -> Result<(), Unencodable> {
        let Some(membership) = self.memberships.get(number) else { return Ok(()) };
        let topic = self.topics.name(membership.topic).unwrap_or_default();
        match body {
            Body::Json(json) if body.is_message() => {
                phoenix::encode_push(&mut self.text, serializer, &membership.join_ref, topic, event, json);
                self.frame(Data::Text);
            }
            Body::Binary(_) if serializer == Serializer::V1 => {}
            Body::Binary(data) => {
                phoenix::encode_binary_push(&mut self.text, &membership.join_ref, topic, event, data)
                    .map_err(|_| Unencodable)?;
                self.frame(Data::Binary);
            }
            Body::Json(_) => return Err(Unencodable),
        }
        Ok(())
    }

    /// Tells the channel that a membership ends, which is still in the tables.
    pub(crate) fn terminate(&mut self, index: u32, listens: Option<Serializer>, number: u32) {
        let Some(member) = self.member_id(number) else { return };
        let Some(membership) = self.memberships.get(number) else { return };
        let Some(topic) = self.topics.name(membership.topic).map(compact_str::CompactString::from) else { return };
        let Some(channel) = self.channels.find(&topic) else { return };
        let mut context = Context::new(&topic, member, self.now_ns);
        channel.terminate(&mut context);
        // The channel ends in any case: a fault has no other consequence.
        let _ = self.carry_out(index, listens, member, context.effects);
    }

    /// Ends a membership of a connection that goes on.
    pub(crate) fn end(&mut self, index: u32, serializer: Serializer, number: u32) -> Option<Membership> {
        self.terminate(index, Some(serializer), number);
        self.leave(index, number)
    }

    /// The channel ends by its own fault; the socket lives on.
    fn crash(&mut self, index: u32, serializer: Serializer, topic: &str, number: u32) {
        let Some(membership) = self.end(index, serializer, number) else { return };
        let payload = self.shared.config.manners.crash_payload();
        phoenix::encode_error(&mut self.text, serializer, &membership.wire_join_ref(), topic, payload);
        self.frame(Data::Text);
    }
}
