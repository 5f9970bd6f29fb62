//! Sockets: connecting from a chosen source, reading and writing. The descriptors belong to the worker's table.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use mio::Interest;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::Worker;
use super::client::State;

/// Why no connect is under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The source is in use, by another program or by a connection that has not died down; another one may do.
    SourceBusy,
    /// Everything else, as errno.
    Failed(i32),
}

/// A socket bound to `source`, not connected.
pub(crate) fn bound(source: SocketAddr) -> Result<Socket, ConnectError> {
    let open = || {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(source), kind, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        Ok(socket)
    };
    let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
    let socket = open().map_err(|error| ConnectError::Failed(errno(error)))?;
    match socket.bind(&source.into()).map_err(errno) {
        Ok(()) => Ok(socket),
        Err(busy) if busy == Errno::ADDRINUSE.raw_os_error() => Err(ConnectError::SourceBusy),
        Err(other) => Err(ConnectError::Failed(other)),
    }
}

/// Begins to connect, with a receive buffer of so many bytes where that is given.
pub(super) fn begin_connect(
    source: SocketAddr,
    server: SocketAddr,
    recv_buffer_bytes: Option<usize>,
) -> Result<OwnedFd, ConnectError> {
    let socket = bound(source)?;
    if let Some(bytes) = recv_buffer_bytes {
        let failed = |error: std::io::Error| ConnectError::Failed(error.raw_os_error().unwrap_or(0));
        socket.set_recv_buffer_size(bytes).map_err(failed)?;
    }
    // As for a dialogue from the start: an answer carries the acknowledgement, and no packet of its own does.
    let _ = rustix::net::sockopt::set_tcp_quickack(&socket, false);
    let outcome = socket.connect(&server.into()).map_err(|error| Errno::from_io_error(&error));
    match outcome {
        Ok(()) | Err(Some(Errno::INPROGRESS)) => Ok(socket.into()),
        // The bound address exists, so it is the pair of addresses that is in use.
        Err(Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE)) => Err(ConnectError::SourceBusy),
        Err(errno) => Err(ConnectError::Failed(errno.map_or(0, Errno::raw_os_error))),
    }
}

impl Worker {
    /// Something happened on a client's socket.
    pub(super) fn serve(&mut self, at: usize, ends: bool) {
        match self.clients[at].state {
            State::Away | State::Gone => {}
            State::Connecting => self.finish_connect(at),
            State::Joined if self.is_slow(at) => self.serve_slow(at, ends),
            _ => {
                if self.clients[at].has_unsent() {
                    self.flush(at);
                }
                self.read(at, ends);
            }
        }
    }

    /// Reads what there is. Events come once per change, so a read that fills the buffer, and an end of the stream that
    /// was announced with data before it, are followed up until the socket has no more.
    pub(super) fn read(&mut self, at: usize, ends: bool) {
        let mut buffer = std::mem::take(&mut self.read);
        while let Some(socket) = &self.clients[at].socket {
            match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, 0)) => self.lose_connection(at, 0),
                Ok((_, bytes)) => {
                    self.counters.bytes_in += bytes as u64;
                    self.received(at, &mut buffer[..bytes]);
                    if bytes < buffer.len() && !ends {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(errno) => self.lose_connection(at, errno.raw_os_error()),
            }
        }
        self.read = buffer;
    }

    /// Writes `out` to a client, keeping what the socket does not take.
    pub(super) fn write_out(&mut self, at: usize) {
        let out = std::mem::take(&mut self.out);
        if self.clients[at].socket.is_some() {
            let outcome = self.send(at, &out);
            self.sent(at, &out, outcome);
        }
        self.out = out;
        self.out.clear();
    }

    /// Sends as much as the socket takes, behind what waits already; `WOULDBLOCK` when that is nothing.
    pub(super) fn send(&self, at: usize, bytes: &[u8]) -> Result<usize, Errno> {
        let client = &self.clients[at];
        match &client.socket {
            Some(socket) if !client.has_unsent() => send_all(socket, bytes),
            Some(_) => Err(Errno::WOULDBLOCK),
            None => Err(Errno::NOTCONN),
        }
    }

    /// What came of [`Self::send`]: the rest waits for the socket.
    pub(super) fn sent(&mut self, at: usize, bytes: &[u8], outcome: Result<usize, Errno>) {
        let sent = match outcome {
            Ok(sent) => sent,
            Err(Errno::WOULDBLOCK) => 0,
            Err(errno) => return self.broken.push((at, errno.raw_os_error())),
        };
        self.counters.bytes_out += sent as u64;
        if sent < bytes.len() {
            let client = &mut self.clients[at];
            let waited = client.has_unsent();
            client.rest().unsent.extend_from_slice(&bytes[sent..]);
            if !waited {
                self.reregister(at, Interest::READABLE | Interest::WRITABLE);
            }
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let (Some(socket), Some(rest)) = (&client.socket, &mut client.rest) else { return };
        match send_all(socket, &rest.unsent) {
            Ok(sent) => {
                rest.unsent.drain(..sent);
                self.counters.bytes_out += sent as u64;
                if rest.unsent.is_empty() {
                    rest.unsent = Vec::new();
                    client.settle_rest();
                    self.reregister(at, Interest::READABLE);
                }
            }
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => self.broken.push((at, errno.raw_os_error())),
        }
    }

    /// Ends clients whose write failed, after what the server had sent them: it may be the close frame that says why.
    pub(super) fn mend_broken(&mut self) {
        while let Some((at, errno)) = self.broken.pop() {
            self.read(at, true);
            self.lose_connection(at, errno);
        }
    }
}

/// Writes until the socket takes no more; gives the number of bytes it took, or `WOULDBLOCK` when there are none.
fn send_all(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(&socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(taken) => sent += taken,
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if sent > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(sent)
}
