//! The chat rooms of the experiment, `rooms:*`, as its `room_channel.ex` had them: the lobby may be joined, and `new:msg`
//! goes to all members. What the experiment had switched off is a setting: telling a room of each join, greeting the
//! newcomer, and a message of the system to each member every 5 s.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Body, Channel, Context, Join, Outcome, Payload};

/// The event of a message to all, from and to clients.
pub(super) const NEW_MESSAGE: &str = c2m_protocol::stamp::EVENT;

const SYSTEM_INTERVAL: Duration = Duration::from_secs(5);
const SYSTEM_MESSAGE: &str = r#"{"body":"ping","user":"SYSTEM"}"#;
const WELCOME: &str = r#"{"status":"connected"}"#;
const NULL: &str = "null";

/// What a member of an announcing room sends to itself.
struct SystemMessage;

/// A chat room.
pub(super) struct ChatRoom {
    pub(super) announces: bool,
}

impl Channel for ChatRoom {
    fn join<'m>(&self, topic: &'m str, _params: Payload<'m>) -> Join<'m> {
        match topic {
            "rooms:lobby" => Join::Accepted(Body::EMPTY),
            _ => Join::Refused(Body::Json(r#"{"reason":"unauthorized"}"#.into())),
        }
    }

    fn after_join<'m>(&self, context: &mut Context<'m>, params: Payload<'m>) -> Outcome<'m> {
        if !self.announces {
            return Outcome::NoReply;
        }
        // The original reads the user from the parameters, and fails when they are no object.
        let Some((_, fields)) = fields(params) else { return Outcome::Crash };
        let user = fields.get("user").map_or(NULL, |user| user.get());
        context.broadcast("user:entered", Body::Json(format!(r#"{{"user":{user}}}"#).into()));
        context.push("join", Body::Json(WELCOME.into()));
        context.send_after(SYSTEM_INTERVAL, SystemMessage);
        Outcome::NoReply
    }

    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m> {
        chat(context, event, payload)
    }

    fn handle_info<'m>(&self, context: &mut Context<'m>, _message: Box<dyn Any + Send>) -> Outcome<'m> {
        context.push(NEW_MESSAGE, Body::Json(SYSTEM_MESSAGE.into()));
        context.send_after(SYSTEM_INTERVAL, SystemMessage);
        Outcome::NoReply
    }
}

/// Sends a message to all members and answers it; no other event is taken.
pub(super) fn chat<'m>(context: &mut Context<'m>, event: &str, payload: Payload<'m>) -> Outcome<'m> {
    let Some((message, response)) = message(event, payload) else { return Outcome::Crash };
    context.broadcast(NEW_MESSAGE, message);
    Outcome::ok(response)
}

/// What goes to all, and what to the sender, for a message; none when it is none.
///
/// The payload goes on as it came when it has both a user and a body; one that is missing is null, as in the original,
/// which read both from the payload.
fn message<'m>(event: &str, payload: Payload<'m>) -> Option<(Body<'m>, Body<'m>)> {
    let (json, fields) = fields(payload).filter(|_| event == NEW_MESSAGE)?;
    let (user, body) = (fields.get("user"), fields.get("body"));
    let body_json = body.map_or(NULL, |body| body.get());
    let message = if user.is_some() && body.is_some() {
        Cow::Borrowed(json)
    } else {
        Cow::Owned(format!(r#"{{"body":{body_json},"user":{}}}"#, user.map_or(NULL, |user| user.get())))
    };
    Some((Body::Json(message), Body::Json(format!(r#"{{"msg":{body_json}}}"#).into())))
}

/// The members of an object, values verbatim; of members with one name the last counts.
fn fields(payload: Payload<'_>) -> Option<(&str, BTreeMap<String, &RawValue>)> {
    let Payload::Json(json) = payload else { return None };
    Some((json, serde_json::from_str(json).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Body<'_> {
        Body::Json(text.into())
    }

    #[test]
    fn a_whole_message_goes_on_verbatim() {
        let text = r#"{ "user" : "a", "body":"\u0041", "more":[1, 2] }"#;
        let expected = (json(text), json(r#"{"msg":"\u0041"}"#));
        assert_eq!(message(NEW_MESSAGE, Payload::Json(text)), Some(expected));
    }

    #[test]
    fn what_is_missing_is_null() {
        let expected = (json(r#"{"body":null,"user":null}"#), json(r#"{"msg":null}"#));
        assert_eq!(message(NEW_MESSAGE, Payload::Json("{}")), Some(expected));
        let expected = (json(r#"{"body":"last","user":null}"#), json(r#"{"msg":"last"}"#));
        assert_eq!(message(NEW_MESSAGE, Payload::Json(r#"{"body":{"deep":[1]},"body":"last"}"#)), Some(expected));
    }

    #[test]
    fn anything_else_is_no_message() {
        for payload in [Payload::Json("\"text\""), Payload::Json("[]"), Payload::Binary(b"{}")] {
            assert_eq!(message(NEW_MESSAGE, payload), None);
        }
        assert_eq!(message("boom", Payload::Json("{}")), None);
    }

    #[test]
    fn only_the_lobby_lets_in() {
        let room = ChatRoom { announces: false };
        assert_eq!(room.join("rooms:lobby", Payload::Json("{}")), Join::Accepted(Body::EMPTY));
        assert_eq!(
            room.join("rooms:private", Payload::Json("{}")),
            Join::Refused(json(r#"{"reason":"unauthorized"}"#))
        );
    }
}
