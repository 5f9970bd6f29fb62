//! Clients that read slowly or never once they are joined. What they read is thrown away; they are in no ledger, and live
//! until the server ends them. One that never reads can't see a close frame or an orderly end behind what it has not read,
//! but a reset ends it at once.

use rustix::net::RecvFlags;

use super::Worker;
use super::client::State;

/// Receive buffer of such a client in bytes (the kernel doubles it), set before the connect, so that no larger window is
/// ever offered: whatever does not fit waits with the server.
pub(super) const RECV_BUFFER_BYTES: usize = 4096;
/// A read of a slow client takes so much as surely fits its buffer, and is not so long or short from the next that it
/// would not be steady or cost much.
const READ_BYTES: u64 = 2048;
const BETWEEN_MIN_NS: u64 = 20_000_000;
const BETWEEN_MAX_NS: u64 = 1_000_000_000;
const NS_PER_S: u64 = 1_000_000_000;

/// The joined clients of a worker that read slowly.
#[derive(Debug)]
pub(super) struct SlowReaders {
    clients: Vec<u32>,
    next_ns: u64,
    between_ns: u64,
    /// What each reads in that time; 0: they never read.
    bytes: usize,
}

impl SlowReaders {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        let between_ns = (READ_BYTES * NS_PER_S / bytes_per_s.max(1)).clamp(BETWEEN_MIN_NS, BETWEEN_MAX_NS);
        let bytes = (bytes_per_s * between_ns).div_ceil(NS_PER_S) as usize;
        Self { clients: Vec::new(), next_ns: u64::MAX, between_ns, bytes }
    }

    /// When they read next.
    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }
}

impl Worker {
    /// Whether a client of this worker reads slowly or never.
    pub(super) fn is_slow(&self, at: usize) -> bool {
        self.shared.slow.contains(self.index(at))
    }

    /// A slow client was joined.
    pub(super) fn slow_joined(&mut self, at: usize, now: u64) {
        self.counters.slow += 1;
        if self.slow.bytes > 0 {
            self.slow.clients.push(at as u32);
            self.slow.next_ns = self.slow.next_ns.min(now + self.slow.between_ns);
        }
    }

    /// Something happened on the socket of a joined slow client. Only its end is heeded.
    pub(super) fn serve_slow(&mut self, at: usize, ends: bool) {
        if self.clients[at].has_unsent() {
            self.flush(at);
        }
        let Some(socket) = self.clients[at].socket.as_ref().filter(|_| ends) else { return };
        let errno = match rustix::net::sockopt::socket_error(socket) {
            Ok(Ok(())) => 0,
            Ok(Err(errno)) | Err(errno) => errno.raw_os_error(),
        };
        self.lose_connection(at, errno);
    }

    /// Lets the slow readers read their share, when it is time.
    pub(super) fn read_slowly(&mut self, now: u64) {
        if now < self.slow.next_ns {
            return;
        }
        let mut clients = std::mem::take(&mut self.slow.clients);
        clients.retain(|&at| self.clients[at as usize].state == State::Joined);
        for &at in &clients {
            self.discard(at as usize);
        }
        self.slow.next_ns = if clients.is_empty() { u64::MAX } else { now + self.slow.between_ns };
        self.slow.clients = clients;
    }

    /// Reads and forgets a client's share.
    fn discard(&mut self, at: usize) {
        let Some(socket) = &self.clients[at].socket else { return };
        let bytes = self.slow.bytes.min(self.read.len());
        match rustix::net::recv(socket, &mut self.read[..bytes], RecvFlags::empty()) {
            Ok((_, 0)) => self.lose_connection(at, 0),
            Ok((_, read)) => self.counters.bytes_in += read as u64,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::WOULDBLOCK) => {}
            Err(errno) => self.lose_connection(at, errno.raw_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_steps_that_fit_the_buffer_and_add_up_to_the_rate() {
        for bytes_per_s in [10, 1_000, 50_000, 100_000] {
            let slow = SlowReaders::new(bytes_per_s);
            let rate = slow.bytes as u64 * NS_PER_S / slow.between_ns;
            assert!((bytes_per_s..=bytes_per_s + 50).contains(&rate), "{rate} for {bytes_per_s}");
            assert!(slow.bytes <= READ_BYTES as usize + 1);
        }
        assert_eq!(SlowReaders::new(0).bytes, 0);
    }
}
