//! Accepting. Each shard has a listening socket on the one port, and the kernel spreads new connections over them.
//!
//! When descriptors or memory run out, accepting pauses until a connection of this shard has ended or a moment has
//! passed. The listening socket is edge-triggered, so a pause costs nothing: no event repeats. Clients wait meanwhile in
//! the accept queue, which the kernel bounds.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::Shard;
use super::connection::Connection;
use crate::config::Config;
use crate::stats::kind;

/// Connections accepted in one turn of the loop.
const ACCEPTS_PER_TURN: usize = 128;
/// How long a pause lasts when nothing ends it earlier.
const PAUSE_NS: u64 = 100_000_000;

/// A listening socket and whether to accept from it now.
pub(crate) struct Acceptor {
    listener: Option<Socket>,
    /// Connections may be waiting.
    ready: bool,
    /// Set during a pause: its end.
    paused_until_ns: Option<u64>,
}

/// A socket that listens on `address` beside others that do.
pub(crate) fn listening_socket(config: &Config, address: SocketAddr) -> io::Result<Socket> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    listener.set_reuse_address(true)?;
    listener.set_reuse_port(true)?;
    // Accepted sockets inherit these options on Linux, which saves system calls for each.
    listener.set_tcp_nodelay(true)?;
    // As for a dialogue from the start: an answer carries the acknowledgement, and no packet of its own does.
    rustix::net::sockopt::set_tcp_quickack(&listener, false)?;
    if config.send_buffer_bytes > 0 {
        listener.set_send_buffer_size(config.send_buffer_bytes)?;
    }
    listener.bind(&address.into())?;
    listener.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    Ok(listener)
}

impl Acceptor {
    /// Listens on `address`, which other shards listen on as well.
    pub(crate) fn listen(config: &Config, address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: Some(listening_socket(config, address)?), ready: true, paused_until_ns: None })
    }

    /// The listening socket's descriptor; -1 once it is closed.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.listener.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Connections have come.
    pub(crate) fn wake(&mut self) {
        self.ready = true;
    }

    /// Whether there is something to do now.
    pub(crate) fn is_ready(&self) -> bool {
        self.listener.is_some() && self.ready && self.paused_until_ns.is_none()
    }

    /// When a pause ends.
    pub(crate) fn retry_ns(&self) -> Option<u64> {
        self.paused_until_ns
    }

    /// A descriptor was freed.
    pub(crate) fn resume(&mut self) {
        self.paused_until_ns = None;
    }

    /// Stops for good.
    pub(crate) fn close(&mut self) {
        *self = Self { listener: None, ready: false, paused_until_ns: None };
    }
}

impl Shard {
    /// Accepts a bounded number of connections.
    pub(crate) fn accept_batch(&mut self) {
        if self.acceptor.paused_until_ns.is_some_and(|until_ns| until_ns <= self.now_ns) {
            self.acceptor.resume();
        }
        if !self.acceptor.is_ready() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.acceptor.listener else { return };
            match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.admit(socket),
                Err(Errno::AGAIN) => {
                    self.acceptor.ready = false;
                    return;
                }
                // The client gave up, or a signal came: the next in the queue is unaffected.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    self.stats().count_error(kind::ACCEPT, i64::from(error.raw_os_error()));
                    self.acceptor.paused_until_ns = Some(self.now_ns + PAUSE_NS);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: std::os::fd::OwnedFd) {
        let descriptor = socket.as_raw_fd();
        let index = self.connections.insert(Connection::new(socket, self.now_s));
        self.counters.accepted += 1;
        self.counters.connections += 1;
        self.sweep.expect(self.now_s, self.shared.config.handshake_timeout_s);
        // The request is often there already, and then no event is needed for it.
        self.on_readable(index, false);
        let Some(connection) = self.connections.get(index) else { return };
        let interest = match connection.outbound {
            Some(_) => Interest::READABLE | Interest::WRITABLE,
            None => Interest::READABLE,
        };
        let watched = self.poll.registry().register(&mut SourceFd(&descriptor), Token(index as usize), interest);
        if let Err(error) = watched {
            // max_user_watches or memory: without events the connection can't be served.
            self.lose(index, Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_inherit_what_the_listening_socket_was_told() {
        let config = Config { send_buffer_bytes: 40_000, ..Config::default() };
        let acceptor = Acceptor::listen(&config, SocketAddr::from(([127, 0, 0, 1], 0))).expect("listens");
        let listener = acceptor.listener.as_ref().expect("open");
        let address = listener.local_addr().expect("bound").as_socket().expect("an IP address");
        let _client = std::net::TcpStream::connect(address).expect("the queue takes it");
        let (accepted, _) = listener.accept().expect("it is in the queue");
        assert!(accepted.tcp_nodelay().expect("readable"));
        assert_eq!(accepted.send_buffer_size().expect("readable"), 80_000);
    }
}
