//! Calls to channels, and the carrying out of what they ask for.

use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::{self, Message, Ref, Serializer};

use super::{Left, Refused, Session, Unencodable};
use crate::channel::{Body, Channel, Context, Effect, MemberId, Outcome, Status};
use crate::stats::kind;

/// Why an effect did not come about.
pub(crate) enum Failure {
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

/// What a session does with channels.
pub(crate) trait Calls: Session {
    /// A message for a joined channel.
    fn on_push(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, number: u32) {
        self.call(index, serializer, &message.topic, number, Some(message), |channel, context| {
            channel.handle_in(context, &message.event, message.payload)
        });
    }

    /// A client has joined and been told so.
    fn after_join(&mut self, index: u32, serializer: Serializer, join: &Message<'_>, number: u32) {
        self.call(index, serializer, &join.topic, number, None, |channel, context| {
            channel.after_join(context, join.payload)
        });
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
        let Some(channel) = self.channels().find(topic) else { return };
        let mut context = Context::new(topic, member, self.now_ns());
        let outcome = handle(channel, &mut context);
        let done = self.carry_out(index, Some(serializer), topic, member, context.effects);
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
            let Some(join_ref) = self.join_ref(number).cloned() else { return };
            if self.reply(serializer, &join_ref, to, status, &body).is_err() {
                return self.crash(index, serializer, topic, number);
            }
        }
        if stops && let Some(left) = self.end(index, serializer, number) {
            self.phx_close(serializer, &left, topic);
        }
    }

    /// Does what a call asked for. Where nobody `listens`, pushes go nowhere. The first failure is the result; what comes
    /// after it is done all the same, but for a fault.
    fn carry_out(
        &mut self,
        index: u32,
        listens: Option<Serializer>,
        topic: &str,
        member: MemberId,
        effects: Vec<Effect<'_>>,
    ) -> Result<(), Failure> {
        let mut done = Ok(());
        for effect in effects {
            match self.effect(index, listens, topic, member, effect) {
                Ok(()) => {}
                Err(Failure::Fault) => return Err(Failure::Fault),
                Err(Failure::Overloaded) => {
                    self.count_error(kind::OVERLOADED, 0);
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
        topic: &str,
        member: MemberId,
        effect: Effect<'_>,
    ) -> Result<(), Failure> {
        let number = member.membership;
        match effect {
            Effect::Push { event, body } => {
                if let Some(serializer) = listens {
                    self.push(serializer, topic, number, &event, &body)?;
                }
            }
            Effect::Broadcast { event, body, to_self, can_wait: false } => {
                self.publish(index, member, &event, &body, to_self && listens.is_some())?;
            }
            Effect::Broadcast { event, body, to_self, can_wait: true } => {
                self.announce(index, member, &event, body, to_self && listens.is_some())?;
            }
            Effect::SendAt { at_ns, message } => {
                if !self.send_at(at_ns, member, message) {
                    self.count_error(kind::OVERLOADED, 0);
                    return Err(Failure::Fault);
                }
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        serializer: Serializer,
        topic: &str,
        number: u32,
        event: &str,
        body: &Body<'_>,
    ) -> Result<(), Unencodable> {
        let Some(join_ref) = self.join_ref(number).cloned() else { return Ok(()) };
        match body {
            Body::Json(json) if body.is_message() => {
                phoenix::encode_push(self.text(), serializer, &join_ref, topic, event, json);
                self.frame(Data::Text);
            }
            Body::Binary(_) if serializer == Serializer::V1 => {}
            Body::Binary(data) => {
                phoenix::encode_binary_push(self.text(), &join_ref, topic, event, data).map_err(|_| Unencodable)?;
                self.frame(Data::Binary);
            }
            Body::Json(_) => return Err(Unencodable),
        }
        Ok(())
    }

    /// Tells the channel that a membership ends, which is still in the tables.
    fn terminate(&mut self, index: u32, listens: Option<Serializer>, number: u32) {
        let Some(member) = self.member_id(number) else { return };
        let Some(topic) = self.topic_of(number).map(compact_str::CompactString::from) else { return };
        let Some(channel) = self.channels().find(&topic) else { return };
        let mut context = Context::new(&topic, member, self.now_ns());
        channel.terminate(&mut context);
        // The channel ends in any case: a fault has no other consequence.
        let _ = self.carry_out(index, listens, &topic, member, context.effects);
    }

    /// Ends a membership of a connection that goes on.
    fn end(&mut self, index: u32, serializer: Serializer, number: u32) -> Option<Left> {
        self.terminate(index, Some(serializer), number);
        self.take_out(index, number)
    }

    /// The channel ends by its own fault; the socket lives on.
    fn crash(&mut self, index: u32, serializer: Serializer, topic: &str, number: u32) {
        let Some(left) = self.end(index, serializer, number) else { return };
        let payload = self.shared().config.manners.crash_payload();
        phoenix::encode_error(self.text(), serializer, &left.wire_join_ref, topic, payload);
        self.frame(Data::Text);
    }

    /// Says that a channel has ended in order.
    fn phx_close(&mut self, serializer: Serializer, left: &Left, topic: &str) {
        phoenix::encode_close(self.text(), serializer, &left.wire_join_ref, topic);
        self.frame(Data::Text);
    }

    fn unmatched(&mut self, serializer: Serializer, message: &Message<'_>) {
        self.reply_json(serializer, &Ref::null(), message, Status::Error, r#"{"reason":"unmatched topic"}"#);
    }

    fn reply_json(&mut self, serializer: Serializer, join_ref: &Ref, to: &Message<'_>, status: Status, response: &str) {
        let Message { reference, topic, .. } = to;
        phoenix::encode_reply(self.text(), serializer, join_ref, reference, topic, status.as_str(), response);
        self.frame(Data::Text);
    }

    /// Answers a message. Errors: this can't be written for this client.
    fn reply(
        &mut self,
        serializer: Serializer,
        join_ref: &Ref,
        to: &Message<'_>,
        status: Status,
        body: &Body<'_>,
    ) -> Result<(), Unencodable> {
        match body {
            Body::Json(response) => self.reply_json(serializer, join_ref, to, status, response),
            Body::Binary(_) if serializer == Serializer::V1 => return Err(Unencodable),
            Body::Binary(data) => {
                let Message { reference, topic, .. } = to;
                phoenix::encode_binary_reply(self.text(), join_ref, reference, topic, status.as_str(), data)
                    .map_err(|_| Unencodable)?;
                self.frame(Data::Binary);
            }
        }
        Ok(())
    }
}

impl<S: Session> Calls for S {}
