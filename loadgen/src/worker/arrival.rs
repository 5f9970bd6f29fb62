//! Arrivals of one worker: clients begin to connect when they are due, or at once when the worker is behind.

use std::os::fd::{AsRawFd, OwnedFd};

use c2m_host::clock::monotonic_ns;
use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::client::{Client, State};
use super::{Worker, slow, socket};
use crate::sources::Slot;
use crate::stats::Kind;

/// Arrivals begun in one turn, so that a worker that is behind still serves its clients. More than a few at once, and what
/// the kernel keeps of them has left the caches when their answers come: of 64 a million arrive at two thirds of the rate.
const BATCH: u32 = 8;

impl Worker {
    /// The agent's number of a client of this worker.
    pub(super) fn index(&self, at: usize) -> u64 {
        self.share.index(at)
    }

    /// The room of a client of this worker.
    pub(super) fn room(&self, at: usize) -> u32 {
        self.shared.target.room_of(self.index(at))
    }

    /// When a client of this worker was due to arrive.
    pub(super) fn due_ns(&self, at: usize) -> u64 {
        self.start_ns.saturating_add(self.shared.schedule.due_offset_ns(self.index(at)))
    }

    /// When the next client is due; never when all have come or there is no start yet.
    pub(super) fn next_arrival_ns(&self) -> u64 {
        let at = self.clients.len();
        if at as u64 == self.share.clients { u64::MAX } else { self.due_ns(at) }
    }

    pub(super) fn begin_due_arrivals(&mut self, mut now: u64) {
        for _ in 0..BATCH {
            let due = self.next_arrival_ns();
            if due > now {
                return;
            }
            let lag = now - due;
            self.latencies.arrival_lag.record(lag);
            self.lag_max_ns = self.lag_max_ns.max(lag);
            self.counters.attempted += 1;
            self.begin_connect(now);
            now = monotonic_ns();
        }
    }

    /// The schedule becomes known.
    pub(super) fn begin_arrivals(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
        let free_after_ns = self.shared.reconnect.as_ref().map_or(u64::MAX, |reconnect| reconnect.free_after_ns);
        self.returns.free_from_ns = start_ns.saturating_add(free_after_ns);
    }

    fn begin_connect(&mut self, now: u64) {
        let at = self.clients.len();
        match self.open_socket(at) {
            Ok((slot, socket)) => {
                self.clients.push(Client::connecting(socket, slot));
                self.connecting(at, now);
            }
            Err(errno) => {
                self.clients.push(Client::gone());
                self.counters.fail(Kind::Connect, i64::from(errno));
            }
        }
    }

    /// Begins to connect from the next source that is not busy. The walk through busy ones ends: each is tried once.
    /// Errors: errno.
    pub(super) fn open_socket(&self, at: usize) -> Result<(Slot, OwnedFd), i32> {
        let recv_buffer_bytes = self.is_slow(at).then_some(slow::RECV_BUFFER_BYTES);
        loop {
            let busy = rustix::io::Errno::ADDRNOTAVAIL.raw_os_error();
            let (slot, source) = self.shared.sources.take().ok_or(busy)?;
            match socket::begin_connect(source, self.shared.target.address, recv_buffer_bytes) {
                Ok(socket) => return Ok((slot, socket)),
                Err(socket::ConnectError::SourceBusy) => {}
                Err(socket::ConnectError::Failed(errno)) => {
                    self.shared.sources.give_back(slot);
                    return Err(errno);
                }
            }
        }
    }

    /// A client's connect was begun.
    pub(super) fn connecting(&mut self, at: usize, now: u64) {
        self.connects.push(at, self.returns.connection(at), now);
        match self.register(at) {
            Err(errno) => self.lose(at, Kind::Connect, i64::from(errno)),
            // Between namespaces and on loopback the handshake is over by now, and no event is needed.
            Ok(()) if self.try_upgrade(at) => {}
            Ok(()) => self.reregister(at, Interest::WRITABLE),
        }
    }

    fn register(&self, at: usize) -> Result<(), i32> {
        let Some(socket) = &self.clients[at].socket else { return Ok(()) };
        let mut source = SourceFd(&socket.as_raw_fd());
        let registered = self.poll.registry().register(&mut source, Token(at), Interest::READABLE);
        registered.map_err(|error| error.raw_os_error().unwrap_or(0))
    }

    /// Changes what a client waits for. Errors count as the connection's.
    pub(super) fn reregister(&mut self, at: usize, interest: Interest) {
        let Some(socket) = &self.clients[at].socket else { return };
        let changed = self.poll.registry().reregister(&mut SourceFd(&socket.as_raw_fd()), Token(at), interest);
        if let Err(error) = changed {
            self.lose_connection(at, error.raw_os_error().unwrap_or(0));
        }
    }

    /// The connect ended, one way or the other.
    pub(super) fn finish_connect(&mut self, at: usize) {
        if self.try_upgrade(at) && self.clients[at].state == State::Upgrading && !self.clients[at].has_unsent() {
            self.reregister(at, Interest::READABLE);
        }
    }
}
