//! Writing to a client. A frame goes straight to the socket; only what a full socket does not take waits in a queue,
//! bounded in frames and bytes, whose end is the end of the client. Runs on the shard's thread.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::Shard;
use super::connection::State;
use crate::stats::kind;

/// Frames that wait for a socket to take them.
#[derive(Default)]
pub(crate) struct Outbound {
    frames: VecDeque<Waiting>,
    /// Bytes in `frames`.
    bytes: usize,
}

struct Waiting {
    rest: Bytes,
    /// Counts as a delivery once it is gone.
    is_broadcast: bool,
}

impl Outbound {
    /// Appends, or refuses when that would exceed a bound.
    fn push(&mut self, rest: Bytes, is_broadcast: bool, frames_max: usize, bytes_max: usize) -> bool {
        if self.frames.len() >= frames_max || self.bytes + rest.len() > bytes_max {
            return false;
        }
        self.bytes += rest.len();
        self.frames.push_back(Waiting { rest, is_broadcast });
        true
    }
}

impl Shard {
    /// Sends a broadcast frame that all receivers share. Allocates only when the socket is full.
    pub(crate) fn deliver(&mut self, index: u32, frame: &Bytes) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.outbound.is_some() {
            return self.enqueue(index, frame.clone(), true);
        }
        match send(connection.socket(), frame) {
            Ok(sent) => {
                self.counters.bytes_out += sent as u64;
                if sent == frame.len() {
                    self.counters.deliveries += 1;
                } else {
                    self.enqueue(index, frame.slice(sent..), true);
                }
            }
            Err(Errno::AGAIN) => self.enqueue(index, frame.clone(), true),
            Err(error) => self.lose(index, error),
        }
    }

    /// Sends what the handlers wrote to `self.reply` for this connection, and leaves it empty.
    pub(crate) fn flush_reply(&mut self, index: u32) {
        if self.reply.is_empty() {
            return;
        }
        let mut reply = std::mem::take(&mut self.reply);
        self.send_bytes(index, &reply);
        reply.clear();
        reply.shrink_to(super::BUFFER_BYTES);
        self.reply = reply;
    }

    fn send_bytes(&mut self, index: u32, bytes: &[u8]) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.outbound.is_some() {
            return self.enqueue(index, Bytes::copy_from_slice(bytes), false);
        }
        match send(connection.socket(), bytes) {
            Ok(sent) => {
                self.counters.bytes_out += sent as u64;
                if sent < bytes.len() {
                    self.enqueue(index, Bytes::copy_from_slice(&bytes[sent..]), false);
                }
            }
            Err(Errno::AGAIN) => self.enqueue(index, Bytes::copy_from_slice(bytes), false),
            Err(error) => self.lose(index, error),
        }
    }

    /// Puts a frame at the end of the queue, and asks to be told when the socket has room. Past the bound the client is
    /// cut off: it does not read, so no close frame would reach it, and a reset frees its kernel buffers at once.
    fn enqueue(&mut self, index: u32, rest: Bytes, is_broadcast: bool) {
        let (frames_max, bytes_max) = (self.shared.config.queue_frames, self.shared.queue_bytes_max());
        let Some(connection) = self.connections.get_mut(index) else { return };
        let is_new = connection.outbound.is_none();
        let outbound = connection.outbound.get_or_insert_default();
        if !outbound.push(rest, is_broadcast, frames_max, bytes_max) {
            self.counters.queued += u64::from(is_new);
            self.stats().count_error(kind::SLOW_CONSUMER, 0);
            return self.reset(index);
        }
        if is_new {
            self.counters.queued += 1;
            self.watch(index, Interest::READABLE | Interest::WRITABLE);
        }
    }

    /// The socket has room again.
    pub(crate) fn on_writable(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(mut outbound) = connection.outbound.take() else { return };
        while let Some(front) = outbound.frames.front_mut() {
            match send(connection.socket(), &front.rest) {
                Ok(sent) => {
                    self.counters.bytes_out += sent as u64;
                    outbound.bytes -= sent;
                    if sent < front.rest.len() {
                        // The kernel took what it had room for; it reports when there is more.
                        let _ = front.rest.split_to(sent);
                        connection.outbound = Some(outbound);
                        return;
                    }
                    self.counters.deliveries += u64::from(front.is_broadcast);
                    outbound.frames.pop_front();
                }
                Err(Errno::AGAIN) => {
                    connection.outbound = Some(outbound);
                    return;
                }
                Err(error) => {
                    connection.outbound = Some(outbound);
                    return self.lose(index, error);
                }
            }
        }
        self.counters.queued -= 1;
        if connection.state == State::Closing {
            let _ = rustix::net::shutdown(connection.socket(), Shutdown::Write);
        }
        self.watch(index, Interest::READABLE);
        // Nothing was read while the queue stood, and its arrival may have been reported long ago.
        self.on_readable(index, true);
    }

    fn watch(&mut self, index: u32, interest: Interest) {
        let Some(connection) = self.connections.get(index) else { return };
        let descriptor = connection.socket().as_raw_fd();
        let watched = self.poll.registry().reregister(&mut SourceFd(&descriptor), Token(index as usize), interest);
        match watched {
            // Of a connection that is just being accepted: it is registered in a moment, for what it waits for then.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.lose(index, Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            Ok(()) => {}
        }
    }

    /// A socket failed: the client is gone. After the last word to it that is no error: it need not have listened.
    pub(crate) fn lose(&mut self, index: u32, error: Errno) {
        if self.connections.get(index).is_some_and(|connection| connection.state != State::Closing) {
            self.stats().count_error(kind::SOCKET, i64::from(error.raw_os_error()));
        }
        self.remove(index);
    }

    /// Closes a connection with a reset instead of a FIN.
    fn reset(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index) {
            let _ = rustix::net::sockopt::set_socket_linger(connection.socket(), Some(std::time::Duration::ZERO));
        }
        self.remove(index);
    }
}

fn send(socket: std::os::fd::BorrowedFd<'_>, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::io::retry_on_intr(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))
}
