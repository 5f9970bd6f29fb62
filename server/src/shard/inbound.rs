//! What a client says on its WebSocket: frames become messages, messages go to the channel, and what the channel
//! decides is encoded into `self.reply`. The behaviour is that of Phoenix 1.8.12 (`Phoenix.Socket`), byte for byte.

use std::ops::ControlFlow;

use c2m_protocol::frame::{self, Control, Data, Event, OpCode, Role};
use c2m_protocol::phoenix::{self, HEARTBEAT_TOPIC, Message, Ref, Serializer, event};

use super::Shard;
use super::calls::Unencodable;
use super::connection::{Membership, State};
use crate::channel::{Body, Join, Status};
use crate::stats::kind;

/// Close code for a message that is none: "internal error", as Phoenix, whose transport process crashes on it.
const MALFORMED_CLOSE_CODE: u16 = 1011;

impl Shard {
    /// Bytes of frames.
    pub(crate) fn on_frames(&mut self, index: u32, input: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut partial = connection.inbound.take();
        let limits = self.shared.limits();
        let mut sink = |event: Event<'_>| self.on_event(index, event);
        let decoded = frame::decode(Role::Server, limits, &mut partial, input, &mut sink);
        match self.connections.get_mut(index) {
            Some(connection) if connection.is_open() => connection.inbound = partial,
            // It ended meanwhile, and what was still said to it must not reach another.
            _ => return self.reply.clear(),
        }
        match decoded {
            Ok(()) => self.flush_reply(index),
            Err(error) => self.fail(index, kind::PROTOCOL, error.close_code()),
        }
    }

    fn on_event(&mut self, index: u32, event: Event<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connections.get_mut(index) else { return ControlFlow::Break(()) };
        connection.last_seen_s = self.now_s;
        self.counters.messages += u64::from(matches!(event, Event::Text(_) | Event::Binary(_)));
        match (event, connection.state) {
            (Event::Ping(payload), _) => {
                frame::encode(&mut self.reply, OpCode::Control(Control::Pong), payload, None);
            }
            (Event::Pong(_), _) => {}
            (Event::Close(said), _) => {
                self.close(index, said.map(|(code, _)| code), "");
                return ControlFlow::Break(());
            }
            (Event::Text(text), State::Echo) => {
                frame::encode(&mut self.reply, OpCode::Data(Data::Text), text.as_bytes(), None);
            }
            (Event::Binary(bytes), State::Echo) => {
                frame::encode(&mut self.reply, OpCode::Data(Data::Binary), bytes, None);
            }
            (Event::Text(text), State::Phoenix(serializer)) => self.on_text(index, serializer, text)?,
            (Event::Binary(bytes), State::Phoenix(serializer)) => self.on_binary(index, serializer, bytes)?,
            (_, State::Handshake | State::Closing) => return ControlFlow::Break(()),
        }
        if self.reply.len() > super::READ_BUFFER_BYTES {
            self.flush_reply(index);
        }
        ControlFlow::Continue(())
    }

    fn on_text(&mut self, index: u32, serializer: Serializer, text: &str) -> ControlFlow<()> {
        match phoenix::decode_text(serializer, text) {
            Ok(message) => self.on_message(index, serializer, &message),
            Err(_) => return self.malformed(index),
        }
        ControlFlow::Continue(())
    }

    /// A binary frame: a push of version 2, and for version 1 the same JSON as in a text frame.
    fn on_binary(&mut self, index: u32, serializer: Serializer, bytes: &[u8]) -> ControlFlow<()> {
        match serializer {
            Serializer::V1 => match str::from_utf8(bytes) {
                Ok(text) => return self.on_text(index, serializer, text),
                Err(_) => return self.malformed(index),
            },
            Serializer::V2 => match phoenix::decode_binary(bytes) {
                Ok(message) => self.on_message(index, serializer, &message),
                Err(_) => return self.malformed(index),
            },
        }
        ControlFlow::Continue(())
    }

    fn malformed(&mut self, index: u32) -> ControlFlow<()> {
        self.fail(index, kind::MALFORMED, MALFORMED_CLOSE_CODE);
        ControlFlow::Break(())
    }

    fn on_message(&mut self, index: u32, serializer: Serializer, message: &Message<'_>) {
        if message.topic == HEARTBEAT_TOPIC {
            if message.event == event::HEARTBEAT {
                self.reply_json(serializer, &Ref::null(), message, Status::Ok, "{}");
            } else {
                self.unmatched(serializer, message);
            }
            return;
        }
        let membership = self.find_membership(index, &message.topic);
        match (&*message.event, membership) {
            (event::JOIN, _) => self.on_join(index, serializer, message, membership),
            (event::LEAVE, None) => self.reply_json(serializer, &message.join_ref, message, Status::Ok, "{}"),
            (_, None) => self.unmatched(serializer, message),
            (_, Some(number)) if self.is_stale(number, message) => {}
            (event::LEAVE, Some(number)) => {
                let Some(membership) = self.end(index, serializer, number) else { return };
                self.reply_json(serializer, &membership.join_ref, message, Status::Ok, "{}");
                self.phx_close(serializer, &membership, &message.topic);
            }
            (_, Some(number)) => self.on_push(index, serializer, message, number),
        }
    }

    /// A message meant for an earlier join of the same topic. One without a join ref is taken for the current join, as
    /// in Phoenix since 1.8.12.
    fn is_stale(&self, membership: u32, message: &Message<'_>) -> bool {
        let is_other = |membership: &Membership| membership.join_ref != message.join_ref;
        let counts = message.event == event::LEAVE || self.shared.config.manners.drops_stale_messages();
        counts && !message.join_ref.is_null() && self.memberships.get(membership).is_some_and(is_other)
    }

    /// A join. One more for a topic that the client is in replaces the earlier: that one's close follows the reply.
    fn on_join(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, earlier: Option<u32>) {
        let earlier = earlier.and_then(|number| self.end(index, serializer, number));
        let config = &self.shared.config;
        let topics_max = config.manners.topics_max(config.max_topics);
        let is_full = self.connections.get(index).is_none_or(|connection| connection.membership_count >= topics_max);
        let decision = match self.channels.find(&message.topic) {
            None => None,
            Some(_) if is_full => Some(Join::Refused(Body::Json(r#"{"reason":"too many channels joined"}"#.into()))),
            Some(channel) => Some(channel.join(&message.topic, message.payload)),
        };
        let refuse = |shard: &mut Self, body: &Body<'_>| {
            shard.reply(serializer, &message.join_ref, message, Status::Error, body)
        };
        let crashed = Body::Json(r#"{"reason":"join crashed"}"#.into());
        let mut joined = None;
        match decision {
            None => self.unmatched(serializer, message),
            Some(Join::Accepted(body)) => {
                joined = self.enter(index, message);
                if self.reply(serializer, &message.join_ref, message, Status::Ok, &body).is_err() {
                    joined = joined.and_then(|number| self.leave(index, number)).and(None);
                    let _ = refuse(self, &crashed);
                }
            }
            // What can't be sent is a failure of the handler, and the answer to that can be sent.
            Some(Join::Refused(body)) if refuse(self, &body).is_ok() => {}
            Some(Join::Refused(_) | Join::Crash) => _ = refuse(self, &crashed),
        }
        if let Some(earlier) = earlier {
            self.phx_close(serializer, &earlier, &message.topic);
        }
        if let Some(number) = joined {
            self.after_join(index, serializer, message, number);
        }
    }

    /// Says that a channel has ended in order.
    pub(crate) fn phx_close(&mut self, serializer: Serializer, membership: &Membership, topic: &str) {
        phoenix::encode_close(&mut self.text, serializer, &membership.wire_join_ref(), topic);
        self.frame(Data::Text);
    }

    fn unmatched(&mut self, serializer: Serializer, message: &Message<'_>) {
        self.reply_json(serializer, &Ref::null(), message, Status::Error, r#"{"reason":"unmatched topic"}"#);
    }

    fn reply_json(&mut self, serializer: Serializer, join_ref: &Ref, to: &Message<'_>, status: Status, response: &str) {
        let Message { reference, topic, .. } = to;
        phoenix::encode_reply(&mut self.text, serializer, join_ref, reference, topic, status.as_str(), response);
        self.frame(Data::Text);
    }

    /// Answers a message. Errors: this can't be written for this client.
    pub(crate) fn reply(
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
                phoenix::encode_binary_reply(&mut self.text, join_ref, reference, topic, status.as_str(), data)
                    .map_err(|_| Unencodable)?;
                self.frame(Data::Binary);
            }
        }
        Ok(())
    }

    /// Moves `self.text` into `self.reply` as a frame.
    pub(crate) fn frame(&mut self, kind: Data) {
        frame::encode(&mut self.reply, OpCode::Data(kind), &self.text, None);
        self.text.clear();
        self.text.shrink_to(super::BUFFER_BYTES);
    }
}
