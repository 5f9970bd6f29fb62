//! A shard: one thread with its own epoll instance, listening socket, connections and topics. Nothing of it is shared;
//! other threads reach it through its mailbox ([`crate::broadcast::Bus`]) and the server's phase, and read the counters
//! that it publishes.
//!
//! - [`accept`]: new sockets, and the pause when descriptors run out
//! - [`handshake`]: from HTTP to WebSocket, to a refusal, or to the HTTP thread
//! - [`inbound`]: frames to messages; [`session`]: what they do here; [`timers`]: what members send to themselves for later
//! - [`outbound`]: frames to sockets, and the bounded queue of a full one
//! - [`fanout`]: broadcasts, in steps between other work
//! - [`membership`]: joins and leaves in the shard's index
//! - [`closing`], [`sweep`], [`drain`]: how connections end

pub(crate) mod accept;
pub(crate) mod closing;
pub(crate) mod connection;
pub(crate) mod drain;
pub(crate) mod fanout;
pub(crate) mod handshake;
pub(crate) mod inbound;
pub(crate) mod membership;
pub(crate) mod outbound;
mod session;
pub(crate) mod sweep;
pub(crate) mod timers;
pub(crate) mod topics;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use c2m_host::clock;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::channel::Channels;
use crate::shared::Shared;
use crate::slab::Slab;
use crate::stats::{Counters, ShardStats};
use accept::Acceptor;
use connection::{Connection, Membership, State};
use drain::{Drain, Ended};
use fanout::Waiting;
use sweep::Sweep;
use timers::Timers;
use topics::{Moved, Topics};

/// The one read buffer of a shard.
pub(crate) const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Capacity that the buffers for answers keep; the usual answer is far smaller.
const BUFFER_BYTES: usize = 4096;
/// How long broadcasts that wait are left before they are looked at again.
const WAITING_LOOK_NS: u64 = 1_000_000;
const EVENTS_PER_TURN: usize = 256;
/// Reads from one connection in one turn of the loop.
const READS_PER_TURN: usize = 4;
// Connections use their slab number, which is below 2^32.
const LISTENER: Token = Token(1 << 32);
const WAKE: Token = Token((1 << 32) + 1);

/// A shard; made and run on its thread.
pub(crate) struct Shard {
    id: usize,
    shared: Arc<Shared>,
    poll: Poll,
    acceptor: Acceptor,
    connections: Slab<Connection>,
    memberships: Slab<Membership>,
    topics: Topics,
    channels: Channels,
    timers: Timers,
    /// Broadcasts that had to wait, in order.
    waiting: VecDeque<Waiting>,
    /// Topics with a walk under way, each in turn.
    rotation: VecDeque<u32>,
    counters: Counters,
    read_buffer: Vec<u8>,
    /// Frames for the connection being handled; written out before another one is.
    reply: Vec<u8>,
    /// Text of the message being encoded.
    text: Vec<u8>,
    /// Connections whose last read filled the buffer, so that there may be more.
    again: Vec<u32>,
    /// Members moved by the end of a walk; empty in between.
    moved: Vec<Moved>,
    now_ns: u64,
    /// Seconds since the server's start.
    now_s: u32,
    sweep: Sweep,
    drain: Option<Drain>,
}

impl Shard {
    /// Opens the epoll instance and the listening socket on the calling thread.
    pub(crate) fn open(id: usize, shared: Arc<Shared>, channels: Channels) -> io::Result<Self> {
        let poll = Poll::new()?;
        let acceptor = Acceptor::listen(&shared.config, shared.address)?;
        poll.registry().register(&mut SourceFd(&acceptor.descriptor()), LISTENER, Interest::READABLE)?;
        let wake = shared.bus.wake_fd(id).as_raw_fd();
        poll.registry().register(&mut SourceFd(&wake), WAKE, Interest::READABLE)?;
        let mut opened = Self {
            id,
            shared,
            poll,
            acceptor,
            connections: Slab::new(),
            memberships: Slab::new(),
            topics: Topics::new(),
            channels,
            timers: Timers::default(),
            waiting: VecDeque::new(),
            rotation: VecDeque::new(),
            counters: Counters::default(),
            // Not zeroes: the pages are to be there before memory is measured.
            read_buffer: vec![0xff; READ_BUFFER_BYTES],
            reply: touched(),
            text: touched(),
            again: Vec::new(),
            moved: Vec::new(),
            now_ns: 0,
            now_s: 0,
            sweep: Sweep::default(),
            drain: None,
        };
        opened.tick();
        Ok(opened)
    }

    /// Serves until the server's drain is over for this shard.
    pub(crate) fn run(mut self) -> io::Result<Ended> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.tick();
            for event in &events {
                self.dispatch(event);
            }
            self.read_again();
            self.accept_batch();
            self.wait_step();
            self.take_mailbox();
            self.timer_step();
            self.walk_step();
            self.sweep_step();
            let ended = self.drain_step();
            // From the look at the clock with which the turn began.
            self.counters.busy_ns += clock::monotonic_ns().saturating_sub(self.now_ns);
            self.stats().publish(&self.counters);
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    fn stats(&self) -> &ShardStats {
        &self.shared.stats[self.id]
    }

    fn tick(&mut self) {
        self.now_ns = clock::monotonic_ns();
        self.now_s = (self.now_ns.saturating_sub(self.shared.started_ns) / 1_000_000_000) as u32;
    }

    /// How long to sleep when no event comes; none is for ever.
    fn timeout(&self) -> Option<Duration> {
        let is_busy = !self.rotation.is_empty()
            || !self.again.is_empty()
            || self.acceptor.is_ready()
            || self.sweep.is_running()
            || self.drain.as_ref().is_some_and(Drain::is_running);
        if is_busy {
            return Some(Duration::ZERO);
        }
        let sweep_ns = self.sweep.due_s().map(|due_s| self.shared.started_ns + u64::from(due_s) * 1_000_000_000);
        let drain_ns = self.drain.as_ref().map(|drain| drain.deadline_ns);
        // Nobody tells when there is room for one more.
        let waiting_ns = (!self.waiting.is_empty()).then_some(self.now_ns + WAITING_LOOK_NS);
        let due_ns = [sweep_ns, self.acceptor.retry_ns(), drain_ns, self.timers.due_ns(), waiting_ns];
        let due_ns = due_ns.into_iter().flatten().min()?;
        Some(Duration::from_nanos(due_ns.saturating_sub(self.now_ns)))
    }

    fn dispatch(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.acceptor.wake(),
            // Edge-triggered: each write to the eventfd is an event of its own, so its count need not be read.
            WAKE => {}
            Token(index) => {
                let index = index as u32;
                let is_ended = event.is_read_closed() || event.is_error();
                if event.is_error() && self.connections.get(index).is_some_and(|c| c.outbound.is_some()) {
                    // A queue stops reading, and reading is how an error is noticed otherwise.
                    return self.lose(index, Errno::CONNRESET);
                }
                if event.is_writable() {
                    self.on_writable(index);
                }
                if event.is_readable() || is_ended {
                    self.on_readable(index, is_ended);
                }
            }
        }
    }

    /// Reads what a client sent: one full buffer at most, so that no client keeps the others waiting. A read that does
    /// not fill the buffer has emptied the socket; `until_end` says that an end of file may stand behind it all the same.
    fn on_readable(&mut self, index: u32, until_end: bool) {
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.connections.get(index) else { return };
            if connection.outbound.is_some() {
                return;
            }
            let read = rustix::net::recv(connection.socket(), self.read_buffer.as_mut_slice(), RecvFlags::empty());
            match read {
                Ok((_, 0)) => return self.on_end_of_file(index),
                Ok((_, read)) => {
                    self.counters.bytes_in += read as u64;
                    let is_full = read == self.read_buffer.len();
                    self.on_bytes(index, read);
                    if is_full {
                        return self.again.push(index);
                    }
                    if !until_end {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => return self.lose(index, error),
            }
        }
        self.again.push(index);
    }

    /// Goes on with connections that had more than one buffer to say. One that was closed meanwhile, or whose number
    /// went to another, costs a read that finds nothing.
    fn read_again(&mut self) {
        for index in std::mem::take(&mut self.again) {
            self.on_readable(index, true);
        }
    }

    fn on_bytes(&mut self, index: u32, read: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        let mut buffer = std::mem::take(&mut self.read_buffer);
        match connection.state {
            State::Handshake => self.on_request_bytes(index, &mut buffer[..read]),
            State::Phoenix(_) | State::Echo => self.on_frames(index, &mut buffer[..read]),
            State::Closing => {}
        }
        self.read_buffer = buffer;
    }
}

/// A buffer whose pages are there.
fn touched() -> Vec<u8> {
    let mut buffer = vec![0xff; BUFFER_BYTES];
    buffer.clear();
    buffer
}
