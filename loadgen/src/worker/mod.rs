//! A worker: one thread, one epoll loop, its own clients, counters, distributions and ledger. It takes no lock but its
//! own board's and, a few times a second, the aggregate's; it logs nothing and allocates nothing per delivery.
//!
//! Clients are numbered by arrival and never move, so a client's number is its epoll token. The loop wakes at least
//! every 100 ms to look for commands.

mod arrival;
mod client;
mod handshake;
mod heartbeat;
mod joined;
mod publisher;
mod queue;
mod returns;
mod slow;
mod socket;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use c2m_host::clock::monotonic_ns;
use c2m_schema::control::BroadcastPlan;
use mio::{Events, Poll};

use crate::agent::Shared;
use crate::frames::FrameCache;
use crate::ledger::Ledger;
use crate::reconnect::{self, Next};
use crate::stats::{Board, Counters, Final, Kind, Latencies};
use crate::wire::Masks;
use client::{Client, State};
use heartbeat::Heartbeats;
use publisher::Publisher;
use queue::StageQueue;
use returns::Returns;
use slow::SlowReaders;

pub(crate) use heartbeat::INTERVAL_MAX_MS;
pub(crate) use joined::{BAD_MESSAGE, LIMITS, NO_STATUS};
pub(crate) use socket::{ConnectError, bound};

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// One read; every frame of an ordinary broadcast burst fits.
const READ_BYTES: usize = 64 * 1024;
/// Longest sleep: how late a command may be seen.
const SLEEP_MAX_NS: u64 = 100_000_000;
/// Between publications of counters, and between drains of the ledger that nobody waits for.
const PUBLISH_EVERY_NS: u64 = 50_000_000;
const DRAIN_EVERY_NS: u64 = 250_000_000;

/// Which of the agent's clients a worker holds: `first`, `first + stride`, …
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) first: u64,
    pub(crate) stride: u64,
    pub(crate) clients: u64,
    /// Whether its only client is the publisher.
    pub(crate) publishes: bool,
}

impl Share {
    /// The agent's number of the worker's client `at`.
    pub(crate) fn index(&self, at: usize) -> u64 {
        self.first + at as u64 * self.stride
    }

    /// The worker's number of the agent's client `index`; none when another thread holds it.
    pub(crate) fn at(&self, index: u64) -> Option<usize> {
        let behind = index.checked_sub(self.first)?;
        let at = behind / self.stride;
        (behind % self.stride == 0 && at < self.clients).then_some(at as usize)
    }
}

/// What the main thread tells a worker, in this order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Arrivals begin.
    Start { start_ns: u64 },
    /// Broadcasts begin.
    Measure(BroadcastPlan),
    /// Stop counting and say what is known.
    Freeze(Sender<Final>),
    /// Close every client until the deadline, and end.
    Close { deadline_ns: u64 },
}

/// One worker's state.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    share: Share,
    board: Arc<Board>,
    poll: Poll,
    clients: Vec<Client>,
    start_ns: u64,
    connects: StageQueue,
    upgrades: StageQueue,
    joins: StageQueue,
    heartbeats: Heartbeats,
    publisher: Publisher,
    slow: SlowReaders,
    returns: Returns,
    counters: Counters,
    latencies: Latencies,
    ledger: Ledger,
    frames: FrameCache,
    foreign: u64,
    masks: Masks,
    /// One read buffer for all clients.
    read: Vec<u8>,
    /// The message text and the frame being written.
    text: Vec<u8>,
    out: Vec<u8>,
    /// Clients whose write failed; what they sent before is read first.
    broken: Vec<(usize, i32)>,
    lag_max_ns: u64,
    published_ns: u64,
    drained_ns: u64,
    settled: bool,
}

impl Worker {
    /// A worker without connections. Called on its thread, after that has its descriptor table.
    pub(crate) fn open(shared: Arc<Shared>, share: Share, board: Arc<Board>) -> io::Result<Self> {
        let timing = shared.timing;
        Ok(Self {
            poll: Poll::new()?,
            // Reserved exactly; pages that no client has come to yet are not touched.
            clients: Vec::with_capacity(share.clients as usize),
            start_ns: u64::MAX,
            connects: StageQueue::new(State::Connecting, timing.connect_timeout_ns),
            upgrades: StageQueue::new(State::Upgrading, timing.upgrade_timeout_ns),
            joins: StageQueue::new(State::Joining, timing.join_timeout_ns),
            heartbeats: Heartbeats::new(timing.heartbeat_interval_ns, timing.heartbeat_timeout_ns, share.clients),
            publisher: Publisher::default(),
            slow: SlowReaders::new(shared.slow.bytes_per_s),
            returns: Returns::new(shared.reconnect.is_some(), shared.seed ^ share.first),
            counters: Counters::default(),
            latencies: Latencies::default(),
            ledger: Ledger::new(),
            frames: FrameCache::default(),
            foreign: 0,
            masks: Masks::new(shared.seed ^ share.first),
            read: vec![0; READ_BYTES],
            text: Vec::new(),
            out: Vec::new(),
            broken: Vec::new(),
            lag_max_ns: 0,
            published_ns: 0,
            drained_ns: 0,
            settled: false,
            shared,
            share,
            board,
        })
    }

    /// Works until told to close, or until the main thread is gone. Errors: epoll fails.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        // There is nothing to poll before the start, and this way it is heard at once.
        let Ok(mut command) = commands.recv().map(Some) else { return Ok(()) };
        loop {
            while let Some(told) = command.take() {
                match told {
                    Command::Start { start_ns } => self.begin_arrivals(start_ns),
                    Command::Measure(plan) => self.begin_measure(plan),
                    Command::Freeze(to) => {
                        let known = self.finish();
                        // The main thread waits for it, unless it has gone itself.
                        let _ = to.send(known);
                        drop(to);
                        self.wait_and_close(commands);
                        return Ok(());
                    }
                    Command::Close { deadline_ns } => {
                        self.close_all(deadline_ns);
                        return Ok(());
                    }
                }
                command = match commands.try_recv() {
                    Ok(next) => Some(next),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                };
            }
            self.turn(&mut events)?;
            command = match commands.try_recv() {
                Ok(next) => Some(next),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Ok(()),
            };
        }
    }

    /// What is due, then what has come.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let now = monotonic_ns();
        self.begin_due_arrivals(now);
        self.begin_due_returns(now);
        self.publish_due(now);
        self.send_due_heartbeats(now);
        self.expire(now);
        self.read_slowly(now);
        self.ledger.advance(now);
        self.tell(now);
        let sleep = self.sleep_until_due();
        match self.poll.poll(events, Some(sleep)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter() {
            let client = event.token().0;
            self.serve(client, event.is_read_closed() || event.is_error());
        }
        self.mend_broken();
        Ok(())
    }

    /// How long the kernel may be waited for. The publisher, whose punctuality all latencies hang on, sleeps the last
    /// part of a millisecond itself, because epoll rounds up to whole ones.
    fn sleep_until_due(&mut self) -> Duration {
        let now = monotonic_ns();
        let due = [
            self.next_arrival_ns(),
            self.heartbeats.next_ns(&self.clients, now),
            self.connects.next_ns(),
            self.upgrades.next_ns(),
            self.joins.next_ns(),
            self.slow.next_ns(),
            self.returns.next_ns(),
        ];
        let sleep = due.into_iter().min().unwrap_or(u64::MAX).saturating_sub(now).min(SLEEP_MAX_NS);
        let publish_in = self.next_publish_ns().saturating_sub(now);
        if publish_in > sleep {
            return Duration::from_nanos(sleep);
        }
        if publish_in < 1_000_000 {
            std::thread::sleep(Duration::from_nanos(publish_in));
        }
        Duration::from_millis(publish_in / 1_000_000)
    }

    fn begin_measure(&mut self, plan: BroadcastPlan) {
        self.latencies.begin_measure();
        self.heartbeats.measure_from(plan.first_due_ns);
        self.ledger.advance(monotonic_ns());
        let turns = self.turns(plan.count);
        self.publisher = Publisher::new(turns);
        let joined = (0..).zip(&self.clients).filter(|(_, client)| client.state == State::Joined);
        let room_of = |at: usize| self.shared.target.room_of(self.share.index(at));
        let (rooms, away) = (joined.map(|(at, _)| room_of(at)), self.returns.away().map(room_of));
        self.shared.begin_ledger(&mut self.ledger, plan, rooms, away);
    }

    /// Times out what has waited too long.
    fn expire(&mut self, now: u64) {
        for (stage, kind) in [
            (State::Connecting, Kind::ConnectTimeout),
            (State::Upgrading, Kind::UpgradeTimeout),
            (State::Joining, Kind::JoinTimeout),
        ] {
            loop {
                let queue = match stage {
                    State::Connecting => &mut self.connects,
                    State::Upgrading => &mut self.upgrades,
                    _ => &mut self.joins,
                };
                let connection = |client| self.returns.connection(client);
                let Some(client) = queue.pop_expired(&self.clients, connection, now) else { break };
                self.lose(client, kind, 0);
            }
        }
        self.expire_heartbeats(now);
    }

    /// A client fails, or is lost when it was joined; then it may come back.
    fn lose(&mut self, at: usize, kind: Kind, code: i64) {
        let state = self.clients[at].state;
        if matches!(state, State::Gone | State::Away) {
            return;
        }
        let comes_back = self.returns.is_on() && (state == State::Joined || self.returns.is_away(at));
        match if comes_back { reconnect::next(kind, code) } else { Next::Over } {
            Next::Reconnect => self.go_away(at, kind, code),
            Next::Rejoin => self.await_rejoin(at, kind, code),
            Next::Refused => self.end(at, Kind::ReconnectRefused, code),
            Next::Over => self.end(at, kind, code),
        }
    }

    /// A client is gone for good. Its socket closes and its source is free again.
    fn end(&mut self, at: usize, kind: Kind, code: i64) {
        let was_away = self.returns.end(at);
        let client = &mut self.clients[at];
        if was_away {
            self.ledger.give_up(self.shared.target.room_of(self.share.index(at)), monotonic_ns());
            match kind {
                Kind::ReconnectRefused => self.counters.refuse(code),
                _ => self.counters.lose_away(kind, code),
            }
        } else if client.state == State::Joined {
            let index = self.share.index(at);
            if self.shared.slow.contains(index) {
                self.counters.slow_dropped += 1;
            } else {
                let room = self.shared.target.room_of(index);
                self.ledger.drop_client(&client.seen, room, monotonic_ns());
            }
            self.counters.lose(kind, code);
        } else {
            self.counters.fail(kind, code);
        }
        client.state = State::Gone;
        client.socket = None;
        client.rest = None;
        self.shared.sources.give_back(client.slot);
    }

    /// The connection ended: an errno, or 0 for an end of file.
    fn lose_connection(&mut self, at: usize, errno: i32) {
        let kind = match self.clients[at].state {
            State::Connecting => Kind::Connect,
            State::Upgrading => Kind::UpgradeClosed,
            State::Joining => Kind::JoinClosed,
            _ if errno == 0 => Kind::Eof,
            _ => Kind::Reset,
        };
        self.lose(at, kind, i64::from(errno));
    }

    /// Publishes counters and the ledger's changes, when it is time or someone waits for them.
    fn tell(&mut self, now: u64) {
        if self.ledger.is_urgent() || (self.ledger.has_changed() && now >= self.drained_ns + DRAIN_EVERY_NS) {
            self.drained_ns = now;
            self.shared.aggregate.absorb(&mut self.ledger);
        }
        let settles = !self.settled && self.counters.attempted == self.share.clients && self.counters.pending() == 0;
        if settles || now >= self.published_ns + PUBLISH_EVERY_NS {
            self.settled |= settles;
            self.published_ns = now;
            self.board.publish(&self.counters, std::mem::take(&mut self.lag_max_ns));
        }
    }

    /// The last publication, and all that is known.
    fn finish(&mut self) -> Final {
        self.ledger.advance(monotonic_ns());
        self.shared.aggregate.absorb(&mut self.ledger);
        self.board.publish(&self.counters, std::mem::take(&mut self.lag_max_ns));
        let joined = (0..).zip(&self.clients).filter(|(_, client)| client.state == State::Joined);
        let gapped = joined.filter(|(at, client)| self.ledger.has_gap(&client.seen, self.room(*at))).count() as u64;
        Final {
            counters: self.counters.clone(),
            latencies: std::mem::take(&mut self.latencies),
            late: self.ledger.late(),
            foreign: self.foreign,
            gapped,
            observed: 0,
            observed_mismatch: 0,
        }
    }

    fn wait_and_close(mut self, commands: &Receiver<Command>) {
        while let Ok(command) = commands.recv() {
            if let Command::Close { deadline_ns } = command {
                self.close_all(deadline_ns);
                break;
            }
        }
    }
}
