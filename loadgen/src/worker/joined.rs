//! Frames from the server. The usual one is a broadcast that another client got before: comparing memory, a clock read,
//! two histogram steps and the client's window are all it costs.

use std::ops::ControlFlow;

use c2m_host::clock::monotonic_ns;
use c2m_protocol::frame::{self, Control, Event, Limits, OpCode, Role};
use c2m_protocol::stamp::Stamp;

use super::Worker;
use super::client::{Rest, State};
use crate::stats::Kind;
use crate::target::Answer;

/// Largest message a client takes: broadcasts may be larger than what a server takes by default.
pub(crate) const LIMITS: Limits = Limits { max_message_bytes: 16 << 20 };
/// Close code for a close frame without one (RFC 6455 §7.4.1).
pub(crate) const NO_STATUS: u16 = 1005;
/// Close code for what is no channel message.
pub(crate) const BAD_MESSAGE: u16 = 1007;

const CLOSE_NORMAL: u16 = 1000;
/// Clients closed between looks at the clock.
const CLOSE_BATCH: usize = 256;

impl Worker {
    pub(super) fn read_frames(&mut self, at: usize, mut bytes: &mut [u8]) {
        let room = self.room(at);
        let client = &mut self.clients[at];
        if client.state == State::Joined && client.rest.is_none() {
            while let Some(known) = self.frames.recognise(bytes) {
                self.counters.deliveries += 1;
                self.ledger.deliver(&mut client.seen, room, known.sequence, known.sent_ns, monotonic_ns());
                bytes = &mut bytes[known.frame_bytes..];
            }
        }
        if bytes.is_empty() {
            return;
        }
        let mut partial = client.rest.as_deref_mut().and_then(|rest: &mut Rest| rest.partial.take());
        let read = frame::decode(Role::Client, LIMITS, &mut partial, bytes, &mut |event| self.event(at, event));
        let client = &mut self.clients[at];
        if client.socket.is_none() {
            return;
        }
        if partial.is_some() {
            client.rest().partial = partial;
        } else {
            client.settle_rest();
        }
        if let Err(error) = read {
            self.fail_connection(at, error.close_code());
        }
    }

    fn event(&mut self, at: usize, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Text(text) => self.message(at, text),
            // A binary push or reply: nothing that clients here ask for.
            Event::Binary(_) => {}
            Event::Ping(payload) => {
                self.heard(at);
                let mask = self.masks.next();
                frame::encode(&mut self.out, OpCode::Control(Control::Pong), payload, Some(mask));
                self.write_out(at);
            }
            Event::Pong(_) => self.heard(at),
            Event::Close(close) => {
                let code = close.map_or(NO_STATUS, |(code, _)| code);
                self.send_close(at, close.map(|(code, _)| code));
                let is_joining = self.clients[at].state == State::Joining;
                let kind = if is_joining { Kind::JoinClosed } else { Kind::Closed };
                self.lose(at, kind, i64::from(code));
            }
        }
        if self.clients[at].socket.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn message(&mut self, at: usize, text: &str) {
        if self.clients[at].state == State::Joined && self.is_slow(at) {
            // It came in one read with the answer to the join, and nobody expects it to be heard.
            return;
        }
        if let Some(known) = self.frames.recognise_text(text) {
            self.deliver(at, known.sequence, known.sent_ns);
            return;
        }
        let shared = std::sync::Arc::clone(&self.shared);
        match shared.target.read(self.index(at), text) {
            Ok(Answer::Join { ok }) => self.join_answered(at, ok),
            Ok(Answer::Heartbeat { number }) => self.heartbeat_answered(at, number),
            Ok(Answer::Push { sequence }) => {
                if self.publisher.sends(sequence, at) {
                    shared.aggregate.replied(sequence, monotonic_ns());
                }
            }
            Ok(Answer::Topic { room, payload }) => match Stamp::find(payload) {
                Some(stamp) if !self.ledger.is_planned(stamp.sequence, stamp.due_ns) => self.foreign += 1,
                Some(stamp) if !self.ledger.is_of_room(stamp.sequence, room) => {
                    self.counters.deliveries += 1;
                    self.ledger.stray(stamp.sequence, monotonic_ns());
                }
                Some(stamp) => {
                    self.frames.remember(text, &stamp);
                    self.deliver(at, stamp.sequence, stamp.sent_ns);
                }
                None => self.foreign += 1,
            },
            Ok(Answer::Ended { by_error }) => match self.clients[at].state {
                State::Joined if by_error && self.returns.is_on() => self.lose(at, Kind::ChannelError, 0),
                State::Joined => self.lose(at, Kind::ChannelClosed, 0),
                // It is over already.
                State::Errored => {}
                _ => self.lose(at, Kind::JoinRejected, 0),
            },
            Ok(Answer::Other) => {}
            Err(_) => self.fail_connection(at, BAD_MESSAGE),
        }
    }

    fn deliver(&mut self, at: usize, sequence: u32, sent_ns: u64) {
        self.counters.deliveries += 1;
        if self.clients[at].state != State::Joined && self.returns.is_away(at) {
            // It is expected as one that is away, and can't receive any more.
            self.ledger.stray(sequence, monotonic_ns());
            return;
        }
        let room = self.room(at);
        self.ledger.deliver(&mut self.clients[at].seen, room, sequence, sent_ns, monotonic_ns());
    }

    /// Fails the connection (RFC 6455 §7.1.7): a close frame with the code, then the end.
    fn fail_connection(&mut self, at: usize, code: u16) {
        self.send_close(at, Some(code));
        self.lose(at, Kind::ProtocolError, i64::from(code));
    }

    pub(super) fn send_close(&mut self, at: usize, code: Option<u16>) {
        let mask = Some(self.masks.next());
        match code {
            Some(code) => frame::encode_close(&mut self.out, code, "", mask),
            None => frame::encode(&mut self.out, OpCode::Control(Control::Close), &[], mask),
        }
        self.write_out(at);
    }

    /// Closes every client in order, as many as the deadline allows; the others end with the thread.
    pub(super) fn close_all(&mut self, deadline_ns: u64) {
        for at in 0..self.clients.len() {
            if at % CLOSE_BATCH == 0 && monotonic_ns() >= deadline_ns {
                return;
            }
            if matches!(self.clients[at].state, State::Joining | State::Joined | State::Errored)
                && !self.clients[at].has_unsent()
            {
                self.send_close(at, Some(CLOSE_NORMAL));
            }
            self.clients[at].socket = None;
            self.broken.clear();
        }
    }
}
