//! From an HTTP request to a WebSocket, to a refusal, or to the HTTP thread. What came of a request head is kept only
//! while the head is incomplete.

use std::os::fd::AsFd;

use c2m_protocol::handshake::{self, Head};

use super::Shard;
use super::connection::{self, State};
use crate::handoff;
use crate::stats::kind;
use crate::upgrade::{self, HEAD_BYTES_MAX, Route, Spoken};

const _: () = assert!(HEAD_BYTES_MAX + super::READ_BUFFER_BYTES <= handoff::PREFIX_BYTES_MAX);

impl Shard {
    /// Bytes in the handshake state.
    pub(crate) fn on_request_bytes(&mut self, index: u32, input: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let incomplete = match connection.head.take() {
            None => (!self.on_request(index, input)).then(|| Box::new(connection::Head { bytes: input.to_vec() })),
            Some(mut head) => {
                head.bytes.extend_from_slice(input);
                (!self.on_request(index, &mut head.bytes)).then_some(head)
            }
        };
        if incomplete.is_some()
            && let Some(connection) = self.connections.get_mut(index)
        {
            connection.head = incomplete;
        }
    }

    /// Acts on a request; tells whether it was there in whole.
    fn on_request(&mut self, index: u32, input: &mut [u8]) -> bool {
        let (route, consumed) = match handshake::parse_request(input, HEAD_BYTES_MAX) {
            Ok(Head::Complete { request, consumed }) => {
                (upgrade::route(&self.shared.config, &request, &mut self.reply), consumed)
            }
            Ok(Head::Incomplete) => return false,
            Err(error) => (Route::Refused { status: error.status(), body: error.to_string() }, input.len()),
        };
        match route {
            Route::Upgraded(spoken) => {
                self.counters.upgraded += 1;
                self.flush_reply(index);
                let Some(connection) = self.connections.get_mut(index) else { return true };
                connection.state = match spoken {
                    Spoken::Phoenix(serializer) => State::Phoenix(serializer),
                    Spoken::Echo => State::Echo,
                };
                connection.last_seen_s = self.now_s;
                if self.shared.config.idle_timeout_s > 0 {
                    self.sweep.expect(self.now_s, self.shared.config.idle_timeout_s);
                }
                if consumed < input.len() {
                    self.on_frames(index, &mut input[consumed..]);
                }
            }
            Route::Refused { status, body } => self.refuse(index, status, &body),
            Route::Http => self.hand_off(index, input),
        }
        true
    }

    fn refuse(&mut self, index: u32, status: u16, body: &str) {
        self.stats().count_error(kind::HTTP_REFUSED, i64::from(status));
        handshake::write_refusal(&mut self.reply, status, body);
        self.finish(index);
    }

    fn hand_off(&mut self, index: u32, input: &[u8]) {
        let Some(socket) = self.release(index) else { return };
        // The request may be for these.
        self.stats().publish(&self.counters);
        if handoff::send(self.shared.http.as_fd(), socket.as_fd(), input).is_err() {
            // The HTTP thread has fallen behind or is gone. The socket has just been opened, so this fits into its buffer.
            self.stats().count_error(kind::HTTP_REFUSED, 503);
            handshake::write_refusal(&mut self.reply, 503, "busy");
            let _ = rustix::net::send(&socket, &self.reply, rustix::net::SendFlags::NOSIGNAL);
            self.reply.clear();
        }
    }
}
