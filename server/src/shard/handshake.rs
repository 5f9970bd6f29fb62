//! From an HTTP request to a WebSocket, to a refusal, or to the HTTP thread. What came of a request head is kept only
//! while the head is incomplete.
//!
//! The order of the checks is Phoenix's (`Phoenix.Transports.WebSocket`): method, Origin, `vsn`, the token, then the
//! upgrade itself.
//! A subprotocol is chosen when `phoenix` is offered; a client that offers only others gets 101 without one, as from an
//! endpoint that configures none, and browsers then fail the connection themselves. Extensions are never agreed to.

use std::os::fd::AsFd;

use c2m_protocol::handshake::{self, Head, Request};

use super::Shard;
use super::connection::{self, State};
use crate::config::Config;
use crate::handoff;
use crate::origin;
use crate::stats::kind;

/// Largest request head in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Where a plain WebSocket returns what it gets.
const ECHO_PATH: &str = "/echo";
const SUBPROTOCOLS: &[&str] = &["phoenix"];

const _: () = assert!(HEAD_BYTES_MAX + super::READ_BUFFER_BYTES <= handoff::PREFIX_BYTES_MAX);

/// Whether a request gives the token that is asked for.
fn may_connect(config: &Config, request: &Request<'_>) -> bool {
    let Some(token) = &config.auth_token else { return true };
    request.query_param("token").as_deref() == Some(token) || handshake::bearer_token(request).as_deref() == Some(token)
}

/// What to do with a request.
enum Route {
    /// The response is written; go on as a WebSocket.
    Upgraded(State),
    Refused {
        status: u16,
        body: String,
    },
    /// Not for WebSocket.
    Http,
}

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
            Ok(Head::Complete { request, consumed }) => (self.route(&request), consumed),
            Ok(Head::Incomplete) => return false,
            Err(error) => (Route::Refused { status: error.status(), body: error.to_string() }, input.len()),
        };
        match route {
            Route::Upgraded(state) => {
                self.counters.upgraded += 1;
                self.flush_reply(index);
                let Some(connection) = self.connections.get_mut(index) else { return true };
                connection.state = state;
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

    fn route(&mut self, request: &Request<'_>) -> Route {
        let refused = |status: u16, body: &str| Route::Refused { status, body: body.to_owned() };
        let config = &self.shared.config;
        let state = match request.path {
            path if path.strip_prefix(&*config.mount) == Some("/websocket") => {
                if request.method != "GET" {
                    return refused(400, "");
                }
                if !origin::is_allowed(&config.allow_origins, request.header("origin"), request.header("host")) {
                    return refused(403, "");
                }
                if request.query_param("vsn[]").is_some() {
                    return refused(403, "");
                }
                match config.manners.serializer(request.query_param("vsn").as_deref()) {
                    Some(serializer) if may_connect(config, request) => State::Phoenix(serializer),
                    _ => return refused(403, ""),
                }
            }
            ECHO_PATH => State::Echo,
            _ if request.wants_upgrade() => return refused(404, "no WebSocket here"),
            _ => return Route::Http,
        };
        match handshake::check_upgrade(request) {
            Ok(accept) => {
                let subprotocol = match state {
                    State::Phoenix(_) => handshake::select_subprotocol(request, SUBPROTOCOLS),
                    _ => None,
                };
                handshake::write_switching(&mut self.reply, &accept, subprotocol);
                Route::Upgraded(state)
            }
            Err(error) => Route::Refused { status: error.status(), body: error.message() },
        }
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
