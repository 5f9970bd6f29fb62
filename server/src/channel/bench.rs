//! Rooms `bench:*`, for measuring. All may be joined.
//!
//! - `new:msg` goes to all members: JSON as in the chat rooms, data as it came.
//! - `echo` is answered with its own payload, JSON or data.
//! - `tick` with `{"interval_ms":I,"count":N,"payload_bytes":B}` has the server broadcast N stamped messages
//!   ([`c2m_protocol::stamp`]) as event `tick`, the n-th due n × I after the request, for as long as the member stays.

use std::any::Any;

use c2m_protocol::stamp::{MIN_PAYLOAD_BYTES, Stamp};
use serde::Deserialize;

use super::chat::{NEW_MESSAGE, chat};
use super::{Body, Channel, Context, Join, Outcome, Payload};

/// Event of a request for ticks, and of a tick.
const TICK: &str = "tick";
const ECHO: &str = "echo";
const TICKS_MAX: u32 = 1_000_000;
const TICK_BYTES_MAX: usize = 60_000;

/// A room for measuring.
pub(super) struct BenchRoom;

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    interval_ms: u32,
    count: u32,
    #[serde(default = "smallest")]
    payload_bytes: usize,
}

fn smallest() -> usize {
    MIN_PAYLOAD_BYTES
}

/// Ticks that are still to come; the next is number `sequence`.
struct Ticks {
    request: Request,
    started_ns: u64,
    sequence: u32,
}

impl Ticks {
    fn due_ns(&self) -> u64 {
        self.started_ns + u64::from(self.sequence) * u64::from(self.request.interval_ms) * 1_000_000
    }
}

impl Channel for BenchRoom {
    fn join<'m>(&self, _topic: &'m str, _params: Payload<'m>) -> Join<'m> {
        Join::Accepted(Body::EMPTY)
    }

    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m> {
        match (event, payload) {
            (ECHO, _) => Outcome::ok(payload.into()),
            (NEW_MESSAGE, Payload::Binary(_)) => {
                context.broadcast(NEW_MESSAGE, payload.into());
                Outcome::ok(Body::EMPTY)
            }
            (TICK, Payload::Json(json)) => match serde_json::from_str::<Request>(json) {
                Err(error) => Outcome::error(&format!("tick: {error}")),
                Ok(request) => start(context, request),
            },
            _ => chat(context, event, payload),
        }
    }

    fn handle_info<'m>(&self, context: &mut Context<'m>, message: Box<dyn Any + Send>) -> Outcome<'m> {
        let Ok(mut ticks) = message.downcast::<Ticks>() else { return Outcome::Crash };
        let stamp = Stamp { sequence: ticks.sequence, due_ns: ticks.due_ns(), sent_ns: context.now_ns() };
        let mut payload = Vec::new();
        stamp.encode(&mut payload, ticks.request.payload_bytes);
        let payload = String::from_utf8(payload).expect("a stamp is ASCII");
        // A tick that can't be sent is lost, and its number is missing.
        context.broadcast(TICK, Body::Json(payload.into()));
        if ticks.sequence < ticks.request.count {
            ticks.sequence += 1;
            context.send_at(ticks.due_ns(), *ticks);
        }
        Outcome::NoReply
    }
}

fn start<'m>(context: &mut Context<'m>, request: Request) -> Outcome<'m> {
    if !(1..=TICKS_MAX).contains(&request.count)
        || request.interval_ms == 0
        || !(MIN_PAYLOAD_BYTES..=TICK_BYTES_MAX).contains(&request.payload_bytes)
    {
        return Outcome::error(&format!(
            "tick: count is 1 to {TICKS_MAX}, interval_ms 1 or more, payload_bytes {MIN_PAYLOAD_BYTES} to {TICK_BYTES_MAX}"
        ));
    }
    let ticks = Ticks { request, started_ns: context.now_ns(), sequence: 1 };
    context.send_at(ticks.due_ns(), ticks);
    Outcome::ok(Body::EMPTY)
}
