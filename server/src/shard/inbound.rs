//! What a client says on its WebSocket: frames become messages, messages go to the channel, and what the channel
//! decides is encoded into `self.reply`. The behaviour is that of Phoenix 1.8.12 (`Phoenix.Socket`), byte for byte.

use std::ops::ControlFlow;

use c2m_protocol::frame::{self, Control, Data, Event, OpCode, Role};
use c2m_protocol::phoenix::{self, HEARTBEAT_TOPIC, Message, Ref, Serializer, event};

use super::Shard;
use super::connection::{Membership, State};
use crate::channel::{self, Action, Join};
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
                self.reply(serializer, &Ref::null(), message, "ok", "{}");
            } else {
                self.unmatched(serializer, message);
            }
            return;
        }
        let membership = self.find_membership(index, &message.topic);
        match (&*message.event, membership) {
            (event::JOIN, _) => self.on_join(index, serializer, message, membership),
            (event::LEAVE, None) => self.reply(serializer, &message.join_ref, message, "ok", "{}"),
            (_, None) => self.unmatched(serializer, message),
            (_, Some(number)) if self.is_stale(number, &message.join_ref) => {}
            (event::LEAVE, Some(number)) => {
                let Some(membership) = self.leave(index, number) else { return };
                self.reply(serializer, &membership.join_ref, message, "ok", "{}");
                self.phx_close(serializer, &membership, &message.topic);
            }
            (_, Some(number)) => self.on_push(index, serializer, message, number),
        }
    }

    /// A message meant for an earlier join of the same topic. One without a join ref is taken for the current join, as
    /// in Phoenix since 1.8.12.
    fn is_stale(&self, membership: u32, join_ref: &Ref) -> bool {
        let is_other = |membership: &Membership| membership.join_ref != *join_ref;
        !join_ref.is_null() && self.memberships.get(membership).is_some_and(is_other)
    }

    /// A join. One more for a topic that the client is in replaces the earlier: that one's close follows the reply.
    fn on_join(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, earlier: Option<u32>) {
        let earlier = earlier.and_then(|number| self.leave(index, number));
        let is_full = self
            .connections
            .get(index)
            .is_none_or(|connection| connection.membership_count >= self.shared.config.max_topics);
        match channel::join(&message.topic) {
            Join::Unmatched => self.unmatched(serializer, message),
            _ if is_full => {
                let response = r#"{"reason":"too many channels joined"}"#;
                self.reply(serializer, &message.join_ref, message, "error", response);
            }
            Join::Refused { response } => self.reply(serializer, &message.join_ref, message, "error", response),
            Join::Accepted => {
                self.enter(index, message);
                self.reply(serializer, &message.join_ref, message, "ok", "{}");
            }
        }
        if let Some(earlier) = earlier {
            self.phx_close(serializer, &earlier, &message.topic);
        }
        if self.shared.config.announce_joins
            && let Some(number) = self.find_membership(index, &message.topic)
        {
            self.announce(index, serializer, message, number);
        }
    }

    /// What the chat example does after a join: tell the room, then the newcomer.
    fn announce(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, number: u32) {
        let Some(entered) = channel::announcement(&message.payload) else {
            return self.crash(index, serializer, &message.topic, number);
        };
        self.publish(index, number, channel::USER_ENTERED, &entered);
        let Some(membership) = self.memberships.get(number) else { return };
        let (event, payload) = channel::WELCOME;
        phoenix::encode_push(&mut self.text, serializer, &membership.join_ref, &message.topic, event, payload);
        self.frame_text();
    }

    /// A message for a joined channel.
    fn on_push(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, number: u32) {
        match channel::handle_in(&message.event, &message.payload) {
            Action::Crash => self.crash(index, serializer, &message.topic, number),
            Action::Broadcast { event, payload, response } => {
                let Some(membership) = self.memberships.get(number) else { return };
                let join_ref = membership.join_ref.clone();
                if self.publish(index, number, event, &payload) {
                    self.reply(serializer, &join_ref, message, "ok", &response);
                } else {
                    self.stats().count_error(kind::OVERLOADED, 0);
                    self.reply(serializer, &join_ref, message, "error", r#"{"reason":"overloaded"}"#);
                }
            }
        }
    }

    /// The channel ends by its own fault; the socket lives on.
    fn crash(&mut self, index: u32, serializer: Serializer, topic: &str, number: u32) {
        let Some(membership) = self.leave(index, number) else { return };
        phoenix::encode_error(&mut self.text, serializer, &membership.wire_join_ref(), topic);
        self.frame_text();
    }

    fn phx_close(&mut self, serializer: Serializer, membership: &Membership, topic: &str) {
        phoenix::encode_close(&mut self.text, serializer, &membership.wire_join_ref(), topic);
        self.frame_text();
    }

    fn unmatched(&mut self, serializer: Serializer, message: &Message<'_>) {
        self.reply(serializer, &Ref::null(), message, "error", r#"{"reason":"unmatched topic"}"#);
    }

    fn reply(&mut self, serializer: Serializer, join_ref: &Ref, to: &Message<'_>, status: &str, response: &str) {
        phoenix::encode_reply(&mut self.text, serializer, join_ref, &to.reference, &to.topic, status, response);
        self.frame_text();
    }

    /// Moves `self.text` into `self.reply` as a frame.
    fn frame_text(&mut self) {
        frame::encode(&mut self.reply, OpCode::Data(Data::Text), &self.text, None);
        self.text.clear();
        self.text.shrink_to(super::BUFFER_BYTES);
    }
}
