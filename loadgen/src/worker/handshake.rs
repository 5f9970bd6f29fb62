//! From the connected socket to the answered join. Every stage's latency runs from the arrival's due time.

use c2m_host::clock::monotonic_ns;
use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::handshake::{self, ClientError, ClientHead};

use rustix::io::Errno;

use super::Worker;
use super::client::State;
use crate::stats::Kind;
use crate::wire;

impl Worker {
    /// Sends the upgrade request, which tells at the same time how the connect went. False: it is still under way.
    pub(super) fn try_upgrade(&mut self, at: usize) -> bool {
        let nonce = self.nonce(at);
        let target = &self.shared.target;
        handshake::write_client_request(&mut self.out, &target.host, &target.path_and_query, nonce, None);
        let out = std::mem::take(&mut self.out);
        let outcome = self.send(at, &out);
        match outcome {
            Err(Errno::WOULDBLOCK) => {}
            // What these say can only be said of a connection that stood.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => {
                let now = monotonic_ns();
                if !self.returns.is_away(at) {
                    self.counters.tcp_connected += 1;
                    self.latencies.connect.record_span(self.due_ns(at), now);
                }
                self.clients[at].state = State::Upgrading;
                self.upgrades.push(at, self.returns.connection(at), now);
                self.sent(at, &out, outcome);
            }
            Err(errno) => self.lose(at, Kind::Connect, i64::from(errno.raw_os_error())),
        }
        self.out = out;
        self.out.clear();
        outcome != Err(Errno::WOULDBLOCK)
    }

    /// Bytes came, in any stage.
    pub(super) fn received(&mut self, at: usize, bytes: &mut [u8]) {
        match self.clients[at].state {
            State::Upgrading => self.read_upgrade(at, bytes),
            // What was still read behind the answer to its join.
            State::Joined if self.is_slow(at) => {}
            State::Joining | State::Joined | State::Errored => self.read_frames(at, bytes),
            State::Connecting | State::Away | State::Gone => {}
        }
    }

    /// A new one for each connection of each client.
    fn nonce(&self, at: usize) -> [u8; 16] {
        let connection = u64::from(self.returns.connection(at));
        wire::nonce(self.shared.seed, self.index(at) | connection << u32::BITS)
    }

    fn read_upgrade(&mut self, at: usize, bytes: &mut [u8]) {
        let nonce = self.nonce(at);
        let mut joined_up: Vec<u8>;
        let input = match self.clients[at].rest.as_deref_mut() {
            Some(rest) if !rest.head.is_empty() => {
                joined_up = std::mem::take(&mut rest.head);
                joined_up.extend_from_slice(bytes);
                &mut joined_up[..]
            }
            _ => bytes,
        };
        match handshake::parse_client_response(input, nonce, None) {
            Ok(ClientHead::Incomplete) => self.clients[at].rest().head = input.to_vec(),
            Ok(ClientHead::Upgraded { consumed }) => {
                self.clients[at].settle_rest();
                self.upgraded(at);
                self.read_frames(at, &mut input[consumed..]);
            }
            Err(error) => {
                let (kind, code) = handshake_failure(error);
                self.lose(at, kind, code);
            }
        }
    }

    /// The connection speaks WebSocket: the join goes out at once.
    fn upgraded(&mut self, at: usize) {
        let now = monotonic_ns();
        if self.returns.is_away(at) {
            self.returns.upgraded(at);
        } else {
            self.counters.upgraded += 1;
            self.latencies.upgrade.record_span(self.due_ns(at), now);
        }
        self.begin_join(at, now);
    }

    /// Sends the join.
    pub(super) fn begin_join(&mut self, at: usize, now: u64) {
        self.clients[at].state = State::Joining;
        self.joins.push(at, self.returns.connection(at), now);
        self.text.clear();
        let index = self.index(at);
        self.shared.target.write_join(&mut self.text, index);
        self.send_text(at);
    }

    /// The join was answered.
    pub(super) fn join_answered(&mut self, at: usize, ok: bool) {
        let client = &mut self.clients[at];
        if client.state != State::Joining {
            return;
        }
        if !ok {
            self.lose(at, Kind::JoinRejected, 0);
            return;
        }
        let now = monotonic_ns();
        client.state = State::Joined;
        let room = self.room(at);
        if let Some(lost_ns) = self.returns.arrive(at) {
            self.ledger.come_back(&mut self.clients[at].seen, room, now);
            self.counters.come_back();
            self.latencies.reconnect.record_span(lost_ns, now);
        } else {
            if self.is_slow(at) {
                self.slow_joined(at, now);
            } else {
                self.ledger.join(&mut self.clients[at].seen, room, now);
            }
            self.counters.joined += 1;
            self.counters.live += 1;
            self.latencies.join.record_span(self.due_ns(at), now);
        }
        self.heartbeats.begin(&mut self.clients, at, now);
    }

    /// Sends `text` as one masked frame.
    pub(super) fn send_text(&mut self, at: usize) {
        let mask = self.masks.next();
        frame::encode(&mut self.out, OpCode::Data(Data::Text), &self.text, Some(mask));
        self.write_out(at);
    }
}

/// Kind and code of a handshake that the client must not go on with.
fn handshake_failure(error: ClientError) -> (Kind, i64) {
    match error {
        ClientError::Refused { status } => (Kind::HttpRefused, i64::from(status)),
        ClientError::BadAccept => (Kind::HandshakeAccept, 0),
        ClientError::UnofferedExtension => (Kind::HandshakeExtension, 0),
        ClientError::UnofferedSubprotocol => (Kind::HandshakeSubprotocol, 0),
        ClientError::TooLarge | ClientError::Malformed | ClientError::NotAnUpgrade => (Kind::HandshakeMalformed, 0),
    }
}
