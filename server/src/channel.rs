//! The chat rooms of the experiment: topics `rooms:*`, of which the lobby may be joined, and topics `bench:*`, which all may
//! be joined; `new:msg` goes to all members.
//! Pure decisions; the shard carries them out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use c2m_protocol::phoenix::Payload;
use serde_json::value::RawValue;

/// What becomes of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// Reply ok, `{}`.
    Accepted,
    /// Reply error with this JSON.
    Refused { response: &'static str },
    /// No channel has such topics.
    Unmatched,
}

/// What becomes of a message to a joined channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Send `event` to all members, then reply ok with `response`.
    Broadcast { event: &'static str, payload: Cow<'a, str>, response: String },
    /// No handler takes this: the channel ends with `phx_error`.
    Crash,
}

/// Event that tells a room of a join.
pub(crate) const USER_ENTERED: &str = "user:entered";
/// Event and payload that greet a newcomer.
pub(crate) const WELCOME: (&str, &str) = ("join", r#"{"status":"connected"}"#);

/// Topics of experiments with many rooms.
const BENCH_PREFIX: &str = c2m_schema::rooms::TOPIC_PREFIX;
const NEW_MESSAGE: &str = "new:msg";
const NULL: &str = "null";

/// Decides on a join.
pub(crate) fn join(topic: &str) -> Join {
    if topic.starts_with(BENCH_PREFIX) {
        return Join::Accepted;
    }
    match topic.strip_prefix("rooms:") {
        Some("lobby") => Join::Accepted,
        Some(_) => Join::Refused { response: r#"{"reason":"unauthorized"}"# },
        None => Join::Unmatched,
    }
}

/// Decides on a message.
///
/// The payload of `new:msg` goes on as it came when it has both a user and a body; one that is missing is null, as in
/// the original, which read both from the payload.
pub(crate) fn handle_in<'a>(event: &str, payload: &Payload<'a>) -> Action<'a> {
    let (NEW_MESSAGE, Some((json, fields))) = (event, fields(payload)) else { return Action::Crash };
    let (user, body) = (fields.get("user"), fields.get("body"));
    let body_json = body.map_or(NULL, |body| body.get());
    let payload = if user.is_some() && body.is_some() {
        Cow::Borrowed(json)
    } else {
        Cow::Owned(format!(r#"{{"body":{body_json},"user":{}}}"#, user.map_or(NULL, |user| user.get())))
    };
    Action::Broadcast { event: NEW_MESSAGE, payload, response: format!(r#"{{"msg":{body_json}}}"#) }
}

/// Payload of [`USER_ENTERED`] for a join's payload; none when that is not an object, on which the original crashes.
pub(crate) fn announcement(payload: &Payload<'_>) -> Option<String> {
    let (_, fields) = fields(payload)?;
    Some(format!(r#"{{"user":{}}}"#, fields.get("user").map_or(NULL, |user| user.get())))
}

/// The members of an object, values verbatim; of members with one name the last counts.
fn fields<'a>(payload: &Payload<'a>) -> Option<(&'a str, BTreeMap<String, &'a RawValue>)> {
    let Payload::Json(json) = *payload else { return None };
    Some((json, serde_json::from_str(json).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> (String, String) {
        match handle_in(NEW_MESSAGE, &Payload::Json(json)) {
            Action::Broadcast { payload, response, .. } => (payload.into_owned(), response),
            Action::Crash => panic!("{json} is a message"),
        }
    }

    #[test]
    fn a_whole_message_goes_on_verbatim() {
        let json = r#"{ "user" : "a", "body":"\u0041", "more":[1, 2] }"#;
        assert_eq!(message(json), (json.to_owned(), r#"{"msg":"\u0041"}"#.to_owned()));
    }

    #[test]
    fn what_is_missing_is_null() {
        assert_eq!(message("{}"), (r#"{"body":null,"user":null}"#.to_owned(), r#"{"msg":null}"#.to_owned()));
        let (payload, response) = message(r#"{"body":{"deep":[1]},"body":"last"}"#);
        assert_eq!((&*payload, &*response), (r#"{"body":"last","user":null}"#, r#"{"msg":"last"}"#));
    }

    #[test]
    fn anything_else_crashes_the_channel() {
        for payload in [Payload::Json("\"text\""), Payload::Json("[]"), Payload::Binary(b"{}")] {
            assert_eq!(handle_in(NEW_MESSAGE, &payload), Action::Crash);
        }
        assert_eq!(handle_in("boom", &Payload::Json("{}")), Action::Crash);
    }

    #[test]
    fn only_the_lobby_and_the_rooms_of_experiments_let_in() {
        assert_eq!(join("rooms:lobby"), Join::Accepted);
        assert_eq!(join("rooms:private"), Join::Refused { response: r#"{"reason":"unauthorized"}"# });
        assert_eq!(join("bench:17"), Join::Accepted);
        assert_eq!(join("users:1"), Join::Unmatched);
    }
}
