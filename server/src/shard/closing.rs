//! How a connection ends. In order: a close frame, a FIN, and whatever the client still says is discarded until it
//! closes too or the linger runs out.

use c2m_protocol::frame::{self, Control, OpCode};
use mio::unix::SourceFd;
use rustix::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

use super::Shard;
use super::connection::State;
use crate::stats::kind;

/// Code that stands for the lack of a close frame (RFC 6455 §7.1.5).
const ABNORMAL: i64 = 1006;

impl Shard {
    /// Says the last word on a WebSocket: a close frame, behind what `self.reply` holds. Without a code the frame is
    /// empty.
    pub(crate) fn close(&mut self, index: u32, code: Option<u16>, reason: &str) {
        match code {
            Some(code) => frame::encode_close(&mut self.reply, code, reason, None),
            None => frame::encode(&mut self.reply, OpCode::Control(Control::Close), &[], None),
        }
        self.finish(index);
    }

    /// Closes because of what the client sent; counted under `kind` and `code`.
    pub(super) fn fail_frames(&mut self, index: u32, kind: &'static str, code: u16) {
        self.stats().count_error(kind, i64::from(code));
        self.close(index, Some(code), "");
    }

    /// Writes out `self.reply` as the last word, then a FIN.
    pub(crate) fn finish(&mut self, index: u32) {
        self.leave_all(index);
        self.flush_reply(index);
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.state = State::Closing;
        connection.last_seen_s = self.now_s;
        connection.head = None;
        connection.inbound = None;
        if connection.outbound.is_none() {
            // A failure means that the client has reset the connection; the read that follows will say so.
            let _ = rustix::net::shutdown(connection.socket(), Shutdown::Write);
        }
        let linger_s = super::sweep::LINGER_S;
        self.sweep.expect(self.now_s, linger_s);
    }

    /// The client has closed its side.
    pub(crate) fn on_end_of_file(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.is_open() {
            self.stats().count_error(kind::EOF, ABNORMAL);
        }
        self.remove(index);
    }

    /// Forgets a connection and closes its socket.
    pub(crate) fn remove(&mut self, index: u32) {
        self.leave_all(index);
        let Some(connection) = self.connections.remove(index) else { return };
        self.counters.connections -= 1;
        self.counters.queued -= u64::from(connection.outbound.is_some());
        if let Some(drain) = &mut self.drain {
            drain.ended(connection.state);
        }
        // A descriptor is free again, which a pause may have waited for.
        self.acceptor.resume();
    }

    /// Gives a connection away: it is no longer this shard's, but its socket lives on.
    pub(crate) fn release(&mut self, index: u32) -> Option<OwnedFd> {
        let connection = self.connections.remove(index)?;
        self.counters.connections -= 1;
        self.acceptor.resume();
        let socket = connection.into_socket();
        // Once another process-wide reference exists, closing ours does not end the watch.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
        Some(socket)
    }
}
