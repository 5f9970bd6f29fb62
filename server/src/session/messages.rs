//! What a client says, and its answers. The behaviour is that of Phoenix 1.8.12 (`Phoenix.Socket`), byte for byte.

use std::ops::ControlFlow;

use c2m_protocol::phoenix::{self, HEARTBEAT_TOPIC, Message, Ref, Serializer, event};

use super::{Calls, Session};
use crate::channel::{Body, Join, Status};
use crate::stats::kind;

/// Close code for a message that is none: "internal error", as Phoenix, whose transport process crashes on it.
const MALFORMED_CLOSE_CODE: u16 = 1011;

/// What a session does with messages.
pub(crate) trait Messages: Calls {
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
                let Some(left) = self.end(index, serializer, number) else { return };
                self.reply_json(serializer, &left.join_ref, message, Status::Ok, "{}");
                self.phx_close(serializer, &left, &message.topic);
            }
            (_, Some(number)) => self.on_push(index, serializer, message, number),
        }
    }

    /// A message meant for an earlier join of the same topic. One without a join ref is taken for the current join, as
    /// in Phoenix since 1.8.12.
    fn is_stale(&self, membership: u32, message: &Message<'_>) -> bool {
        let counts = message.event == event::LEAVE || self.shared().config.manners.drops_stale_messages();
        let is_other = |join_ref: &Ref| *join_ref != message.join_ref;
        counts && !message.join_ref.is_null() && self.join_ref(membership).is_some_and(is_other)
    }

    /// A join. One more for a topic that the client is in replaces the earlier: that one's close follows the reply.
    fn on_join(&mut self, index: u32, serializer: Serializer, message: &Message<'_>, earlier: Option<u32>) {
        let earlier = earlier.and_then(|number| self.end(index, serializer, number));
        let config = &self.shared().config;
        let topics_max = config.manners.topics_max(config.max_topics);
        let is_full = self.membership_count(index).is_none_or(|count| count >= topics_max);
        let decision = match self.channels().find(&message.topic) {
            None => None,
            Some(_) if is_full => Some(Join::Refused(Body::Json(r#"{"reason":"too many channels joined"}"#.into()))),
            Some(channel) => Some(channel.join(&message.topic, message.payload)),
        };
        let refuse = |session: &mut Self, body: &Body<'_>| {
            session.reply(serializer, &message.join_ref, message, Status::Error, body)
        };
        let crashed = Body::Json(r#"{"reason":"join crashed"}"#.into());
        let mut joined = None;
        match decision {
            None => self.unmatched(serializer, message),
            Some(Join::Accepted(body)) => {
                joined = self.enter(index, message);
                if self.reply(serializer, &message.join_ref, message, Status::Ok, &body).is_err() {
                    joined = joined.and_then(|number| self.take_out(index, number)).and(None);
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
}

impl<S: Session> Messages for S {}
