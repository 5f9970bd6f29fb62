//! The two ends of the floor's connections: what a thread does, with nothing between it and the sockets.
//!
//! Threads run under the default scheduling policy, as those of a plain program do: what the server and the agent gain by
//! another one is theirs. Every thread has a descriptor table and an epoll instance of its own; nothing is shared but counters. Sockets are
//! set up as those of the server and the load agent are (no delay, edge-triggered), so that only the work differs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use c2m_host::clock::monotonic_ns;
use c2m_host::limits;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use super::exchange::{Exchange, MESSAGE_BYTES_MAX, say};

/// Events taken at once.
const EVENTS: usize = 1024;
/// Arrivals begun between two looks at what has come, as many as a worker of a load agent begins in one turn.
const BATCH: usize = 8;
/// Do not wait.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// As the server's default.
const BACKLOG: i32 = 65_535;
/// Marks the listening socket and the wake-up among a server thread's events; clients are numbered from 0.
const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
/// Sources that may be busy before a thread gives up: all ports of an address and some.
const BUSY_MAX: u64 = 100_000;

/// What a thread reports to the main thread.
#[derive(Debug)]
pub(super) enum Report {
    /// A server thread listens.
    Listening,
    /// A client thread has connected its share, and had its exchanges where there are some.
    Connected { at_ns: u64 },
    /// A server thread waits for broadcasts and holds so many connections.
    Holding { connections: u64 },
    /// A client thread has received a whole broadcast on all its connections.
    Reached { at_ns: u64 },
    /// The thread can't go on.
    Failed { error: String },
}

/// Source addresses and ports of the clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources {
    /// First and last port.
    pub(super) ports: (u16, u16),
}

impl Sources {
    /// The `n`-th source: all ports of 127.1.0.0, then of the next address.
    fn get(self, n: u64) -> SocketAddrV4 {
        let ports = u64::from(self.ports.1 - self.ports.0) + 1;
        let address = Ipv4Addr::from_bits(0x7f01_0000 + (n / ports) as u32);
        SocketAddrV4::new(address, self.ports.0 + (n % ports) as u16)
    }
}

/// Opens a socket bound to `address`, which others are bound to as well. As long as it does not listen it gets none of the
/// connections.
pub(super) fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// One server thread.
pub(super) struct ServerEnd {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// What is said on each connection, if anything.
    pub(super) exchange: Option<Exchange>,
    /// Accepted by all threads, and their exchange over.
    pub(super) accepted: std::sync::Arc<AtomicU64>,
    /// Written once every client is connected.
    pub(super) wake: std::sync::Arc<OwnedFd>,
    /// The message of each broadcast; the end of it is the thread's.
    pub(super) broadcasts: Receiver<std::sync::Arc<[u8]>>,
    /// The main thread.
    pub(super) reports: Sender<Report>,
}

impl ServerEnd {
    /// Accepts until it is woken, then sends what it is told to.
    pub(super) fn run(self) {
        let opened = (|| {
            limits::private_file_table()?;
            let (epoll, listener) = (epoll::create(epoll::CreateFlags::CLOEXEC)?, bind(self.address)?);
            if self.exchange.is_some() {
                sockopt::set_tcp_quickack(&listener, false)?;
            }
            rustix::net::listen(&listener, BACKLOG)?;
            watch(&epoll, listener.as_fd(), LISTENER)?;
            watch(&epoll, self.wake.as_fd(), WAKE)?;
            Ok((epoll, listener))
        })();
        let (epoll, listener) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.fail("listening", &error),
        };
        // Nobody waits for a report any more when the main thread has given up; that goes for all of them.
        let _ = self.reports.send(Report::Listening);
        let connections = match self.accept(&epoll, &listener) {
            Ok(connections) => connections,
            Err(error) => return self.fail("accepting", &error.into()),
        };
        let _ = self.reports.send(Report::Holding { connections: connections.len() as u64 });
        while let Ok(message) = self.broadcasts.recv() {
            for connection in &connections {
                match rustix::net::send(connection, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    Ok(sent) if sent == message.len() => {}
                    Ok(_) => return self.fail("sending", &io::Error::other("the socket buffer is full")),
                    Err(error) => return self.fail("sending", &error.into()),
                }
            }
        }
    }

    fn accept(&self, epoll: &OwnedFd, listener: &OwnedFd) -> rustix::io::Result<Vec<OwnedFd>> {
        let part = self.exchange.map(Exchange::server);
        let (mut connections, mut heard) = (Vec::new(), Vec::new());
        let (mut events, mut buffer) = (Vec::with_capacity(EVENTS), vec![0u8; MESSAGE_BYTES_MAX]);
        loop {
            wait(epoll, &mut events, None)?;
            for event in &events {
                match event.data.u64() {
                    WAKE => return Ok(connections),
                    LISTENER => loop {
                        match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                            Ok(connection) => {
                                let mut so_far = 0;
                                match &part {
                                    // The request is there already, and then no event is needed for it.
                                    Some(part) => _ = part.go_on(&connection, &mut so_far, &mut buffer)?,
                                    None => _ = self.accepted.fetch_add(1, Ordering::Relaxed),
                                }
                                watch(epoll, connection.as_fd(), connections.len() as u64)?;
                                connections.push(connection);
                                heard.push(so_far);
                            }
                            Err(Errno::AGAIN) => break,
                            Err(Errno::INTR | Errno::CONNABORTED) => {}
                            Err(error) => return Err(error),
                        }
                    },
                    number => {
                        let (at, Some(part)) = (number as usize, &part) else { continue };
                        if part.go_on(&connections[at], &mut heard[at], &mut buffer)? {
                            self.accepted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        }
    }

    fn fail(&self, doing: &str, error: &io::Error) {
        let _ = self.reports.send(Report::Failed { error: format!("{doing}: {error}") });
    }
}

/// One client thread.
pub(super) struct ClientEnd {
    /// Where it connects to.
    pub(super) server: SocketAddr,
    /// Where from: source `first`, `first + stride`, …
    pub(super) sources: Sources,
    /// Its first source.
    pub(super) first: u64,
    /// Number of client threads.
    pub(super) stride: u64,
    /// How many connections it makes.
    pub(super) clients: u64,
    /// What is said on each connection, if anything.
    pub(super) exchange: Option<Exchange>,
    /// Bytes of a broadcast.
    pub(super) message_bytes: usize,
    /// Sent to begin.
    pub(super) start: Receiver<()>,
    /// The main thread.
    pub(super) reports: Sender<Report>,
}

impl ClientEnd {
    /// Connects its share, then receives for ever.
    pub(super) fn run(self) {
        if self.start.recv().is_err() {
            return;
        }
        if let Err(error) = self.connect_and_receive() {
            let _ = self.reports.send(Report::Failed { error: format!("clients: {error}") });
        }
    }

    fn connect_and_receive(&self) -> io::Result<()> {
        limits::private_file_table()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::with_capacity(self.clients as usize);
        let mut talks = self.exchange.map(|exchange| Talks::new(exchange, self.clients));
        let (mut source, mut busy) = (self.first, 0);
        while (sockets.len() as u64) < self.clients {
            match connect(self.sources.get(source), self.server, talks.is_some()) {
                Ok(socket) => {
                    if let Some(talks) = &mut talks {
                        talks.begin(&socket)?;
                    }
                    watch(&epoll, socket.as_fd(), sockets.len() as u64)?;
                    sockets.push(socket);
                    if let Some(talks) = talks.as_mut().filter(|_| sockets.len() % BATCH == 0) {
                        talks.go_on(&epoll, &sockets, Some(&AT_ONCE))?;
                    }
                }
                Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL) if busy < BUSY_MAX => busy += 1,
                Err(error) => return Err(io::Error::from(error)),
            }
            source += self.stride;
        }
        while let Some(talks) = talks.as_mut().filter(|talks| talks.over < self.clients) {
            talks.go_on(&epoll, &sockets, None)?;
        }
        let _ = self.reports.send(Report::Connected { at_ns: monotonic_ns() });
        self.receive(&epoll, &sockets)
    }

    fn receive(&self, epoll: &OwnedFd, sockets: &[OwnedFd]) -> io::Result<()> {
        let (mut events, mut buffer) = (Vec::with_capacity(EVENTS), vec![0u8; MESSAGE_BYTES_MAX]);
        let whole = self.clients as usize * self.message_bytes;
        let mut received = 0;
        loop {
            wait(epoll, &mut events, None)?;
            for event in &events {
                let socket = &sockets[event.data.u64() as usize];
                match rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                    Ok((_, 0)) => return Err(io::Error::other("the server's end closed")),
                    Ok((_, bytes)) => received += bytes,
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if received >= whole {
                received -= whole;
                if self.reports.send(Report::Reached { at_ns: monotonic_ns() }).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The exchanges of a client thread.
struct Talks {
    exchange: Exchange,
    /// Bytes that came on each connection.
    heard: Vec<usize>,
    /// How many are over.
    over: u64,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Talks {
    fn new(exchange: Exchange, clients: u64) -> Self {
        let (heard, events) = (Vec::with_capacity(clients as usize), Vec::with_capacity(EVENTS));
        Self { exchange, heard, over: 0, events, buffer: vec![0; MESSAGE_BYTES_MAX] }
    }

    /// The next connection makes its request.
    fn begin(&mut self, socket: &OwnedFd) -> rustix::io::Result<()> {
        self.heard.push(0);
        say(socket, &self.buffer[..self.exchange.request])
    }

    /// Says what is to be said to what has come.
    fn go_on(&mut self, epoll: &OwnedFd, sockets: &[OwnedFd], timeout: Option<&Timespec>) -> rustix::io::Result<()> {
        wait(epoll, &mut self.events, timeout)?;
        for event in &self.events {
            let at = event.data.u64() as usize;
            let is_over = self.exchange.client().go_on(&sockets[at], &mut self.heard[at], &mut self.buffer)?;
            self.over += u64::from(is_over);
        }
        Ok(())
    }
}

/// Connects from `source`. On loopback the handshake is over when the call returns, so nothing sleeps. With a request to
/// follow at once, the acknowledgement of the server's part goes out with it.
fn connect(source: SocketAddrV4, server: SocketAddr, request_follows: bool) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if request_follows {
        sockopt::set_tcp_quickack(&socket, false)?;
    }
    rustix::net::bind(&socket, &source)?;
    loop {
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(Errno::ISCONN) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn watch(epoll: &OwnedFd, socket: BorrowedFd<'_>, number: u64) -> rustix::io::Result<()> {
    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, socket, EventData::new_u64(number), flags)
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>, timeout: Option<&Timespec>) -> rustix::io::Result<()> {
    events.clear();
    match epoll::wait(epoll, spare_capacity(events), timeout) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_use_every_port_of_an_address_before_the_next() {
        let sources = Sources { ports: (40_000, 40_002) };
        let of = |n| sources.get(n).to_string();
        assert_eq!([of(0), of(2), of(3)], ["127.1.0.0:40000", "127.1.0.0:40002", "127.1.0.1:40000"]);
        assert_eq!(of(3 * 256 + 1), "127.1.1.0:40001");
    }
}
