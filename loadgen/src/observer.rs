//! Observers: full clients of another author's making (tokio-tungstenite), which check every broadcast byte for byte by
//! making its payload again from its stamp. All observers of an agent share one thread, one ledger and one board.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use c2m_host::clock::monotonic_ns;
use c2m_protocol::stamp::Stamp;
use c2m_schema::control::BroadcastPlan;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::agent::Shared;
use crate::ledger::{Ledger, Seen};
use crate::reconnect::{self, Next, Wait};
use crate::sources::Slot;
use crate::stats::{Board, Counters, Final, Kind, Latencies};
use crate::target::Answer;
use crate::wire;
use crate::worker::{BAD_MESSAGE, Command, ConnectError, NO_STATUS, bound};

/// Between publications of counters and ledger.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// How long an observer may take to close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// How an observer ended: kind and code.
type Failure = (Kind, i64);
type Socket = WebSocketStream<TcpStream>;

/// Where an observer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Not joined yet, or gone.
    #[default]
    Out,
    Joined,
    /// It was joined, and is on its way back.
    Away,
}

/// What all observers share, on their one thread.
#[derive(Default)]
struct Account {
    counters: Counters,
    latencies: Latencies,
    ledger: Ledger,
    /// What each observer has got, and where it is.
    observers: Vec<(Seen, Place)>,
    lag_max_ns: u64,
    foreign: u64,
    observed: u64,
    mismatch: u64,
}

/// What observers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Started { start_ns: u64 },
    Closing,
}

/// Runs observers `first..first + count` of the agent until told to close. Errors: the runtime can't start.
pub(crate) fn run(
    shared: &Arc<Shared>,
    board: &Board,
    first: u64,
    count: u64,
    commands: mpsc::UnboundedReceiver<Command>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let observers = vec![(Seen::default(), Place::Out); count as usize];
    let account = Rc::new(RefCell::new(Account { ledger: Ledger::new(), observers, ..Account::default() }));
    let tasks = tokio::task::LocalSet::new();
    let (phase, phases) = watch::channel(Phase::Waiting);
    let mut observers = Vec::new();
    for at in 0..count {
        let observer = Observer {
            shared: Arc::clone(shared),
            account: Rc::clone(&account),
            phases: phases.clone(),
            at: at as usize,
            index: first + at,
            due_ns: 0,
            answered: 0,
            heard_ns: 0,
            slot: None,
            tries: Tries::default(),
        };
        observers.push(tasks.spawn_local(observer.live()));
    }
    tasks.block_on(&runtime, async {
        command(shared, board, &account, first, &phase, commands).await;
        let close = async {
            for observer in observers {
                // An observer that panicked has nothing to close.
                let _ = observer.await;
            }
        };
        let _ = timeout(CLOSE_WAIT, close).await;
    });
    Ok(())
}

/// Follows commands and publishes until the end.
async fn command(
    shared: &Shared,
    board: &Board,
    account: &RefCell<Account>,
    first: u64,
    phase: &watch::Sender<Phase>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    loop {
        match timeout(PUBLISH_EVERY, commands.recv()).await {
            Ok(Some(Command::Start { start_ns })) => {
                phase.send_replace(Phase::Started { start_ns });
            }
            Ok(Some(Command::Measure(plan))) => {
                let mut account = account.borrow_mut();
                account.latencies.begin_measure();
                account.ledger.advance(monotonic_ns());
                let rooms_of = |place: Place| -> Vec<u32> {
                    let there = (first..).zip(&account.observers).filter(|(_, (_, at))| *at == place);
                    there.map(|(index, _)| shared.target.room_of(index)).collect()
                };
                let (live, away) = (rooms_of(Place::Joined), rooms_of(Place::Away));
                shared.begin_ledger(&mut account.ledger, plan, live.into_iter(), away.into_iter());
            }
            Ok(Some(Command::Freeze(to))) => finish(shared, board, &mut account.borrow_mut(), first, &to),
            Ok(Some(Command::Close { .. }) | None) => {
                phase.send_replace(Phase::Closing);
                return;
            }
            Err(_) => publish(shared, board, &mut account.borrow_mut()),
        }
    }
}

fn publish(shared: &Shared, board: &Board, account: &mut Account) {
    account.ledger.advance(monotonic_ns());
    if account.ledger.has_changed() {
        shared.aggregate.absorb(&mut account.ledger);
    }
    board.publish(&account.counters, std::mem::take(&mut account.lag_max_ns));
}

fn finish(shared: &Shared, board: &Board, account: &mut Account, first: u64, to: &Sender<Final>) {
    publish(shared, board, account);
    let joined = (first..).zip(&account.observers).filter(|(_, (_, place))| *place == Place::Joined);
    let has_gap = |index: u64, seen: &Seen| account.ledger.has_gap(seen, shared.target.room_of(index));
    let known = Final {
        counters: account.counters.clone(),
        latencies: account.latencies.clone(),
        late: account.ledger.late(),
        foreign: account.foreign,
        gapped: joined.filter(|(index, (seen, _))| has_gap(*index, seen)).count() as u64,
        observed: account.observed,
        observed_mismatch: account.mismatch,
    };
    // The main thread waits for it, unless it has gone itself.
    let _ = to.send(known);
}

/// Tries to come back since the last success, and when the client was lost.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    connects: u32,
    joins: u32,
    lost_ns: u64,
}

struct Observer {
    shared: Arc<Shared>,
    account: Rc<RefCell<Account>>,
    phases: watch::Receiver<Phase>,
    /// Number among the observers, and among the agent's clients.
    at: usize,
    index: u64,
    due_ns: u64,
    /// Number of the newest heartbeat that was answered, from 1.
    answered: u64,
    /// When a ping or pong came last, which shows that the server lives (C09).
    heard_ns: u64,
    /// Source of its connection, or of the one before.
    slot: Option<Slot>,
    tries: Tries,
}

impl Observer {
    async fn live(mut self) {
        let Some(start_ns) = self.started().await else { return };
        self.due_ns = start_ns.saturating_add(self.shared.schedule.due_offset_ns(self.index));
        if self.closes_within(until(self.due_ns)).await {
            return;
        }
        let begun_ns = monotonic_ns();
        let lag_ns = begun_ns - self.due_ns;
        self.with(|account| {
            account.counters.attempted += 1;
            account.latencies.arrival_lag.record(lag_ns);
            account.lag_max_ns = account.lag_max_ns.max(lag_ns);
        });
        loop {
            let wait = match self.be_connected().await {
                Ok(mut socket) => {
                    let _ = timeout(CLOSE_WAIT, socket.close(None)).await;
                    return;
                }
                Err((kind, code)) => self.lose(kind, code),
            };
            let Some(wait) = wait else { return };
            if self.closes_before_turn(wait, start_ns).await {
                return;
            }
        }
    }

    /// One connection, from its connect to its loss, or to the end of the run.
    async fn be_connected(&mut self) -> Result<Socket, Failure> {
        (self.answered, self.heard_ns) = (0, 0);
        let mut socket = self.connect().await?;
        self.join(&mut socket).await?;
        self.stay(&mut socket).await?;
        Ok(socket)
    }

    /// Waits for the next try, and tells whether the end came first. Where the official client would join again on a
    /// connection that stands, an observer makes a new one.
    async fn closes_before_turn(&mut self, wait: Wait, start_ns: u64) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(reconnect) = &shared.reconnect else { return true };
        let tries = match wait {
            Wait::Reconnect => &mut self.tries.connects,
            Wait::Rejoin => &mut self.tries.joins,
        };
        *tries += 1;
        let random = wire::mix(shared.seed ^ wire::mix(self.index) ^ monotonic_ns());
        let free_ns = start_ns.saturating_add(reconnect.free_after_ns);
        let mut due_ns = (monotonic_ns() + wait.ns(*tries, random)).max(free_ns);
        loop {
            if self.closes_within(until(due_ns)).await {
                return true;
            }
            match reconnect.pace.take(monotonic_ns()) {
                Ok(()) => return false,
                Err(until_ns) => due_ns = until_ns,
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.account.borrow_mut())
    }

    async fn started(&mut self) -> Option<u64> {
        match *self.phases.wait_for(|phase| *phase != Phase::Waiting).await.ok()? {
            Phase::Started { start_ns } => Some(start_ns),
            _ => None,
        }
    }

    /// Waits, and tells whether the end came first.
    async fn closes_within(&mut self, wait: Duration) -> bool {
        timeout(wait, self.phases.wait_for(|phase| *phase == Phase::Closing)).await.is_ok()
    }

    async fn connect(&mut self) -> Result<Socket, Failure> {
        let timing = self.shared.timing;
        let connect = timeout(Duration::from_nanos(timing.connect_timeout_ns), self.connect_tcp()).await;
        let stream = connect.map_err(|_| (Kind::ConnectTimeout, 0))??;
        let is_first = self.place() == Place::Out;
        if is_first {
            self.with(|account| {
                account.counters.tcp_connected += 1;
                account.latencies.connect.record_span(self.due_ns, monotonic_ns());
            });
        }
        let target = &self.shared.target;
        let url = format!("ws://{}{}", target.host, target.path_and_query);
        let upgrade = timeout(Duration::from_nanos(timing.upgrade_timeout_ns), client_async(url, stream)).await;
        let (socket, _) = upgrade.map_err(|_| (Kind::UpgradeTimeout, 0))?.map_err(|error| upgrade_failure(&error))?;
        if is_first {
            self.with(|account| {
                account.counters.upgraded += 1;
                account.latencies.upgrade.record_span(self.due_ns, monotonic_ns());
            });
        }
        self.tries.connects = 0;
        Ok(socket)
    }

    async fn connect_tcp(&mut self) -> Result<TcpStream, Failure> {
        // Its former connection is over.
        self.slot.take().into_iter().for_each(|slot| self.shared.sources.give_back(slot));
        loop {
            let busy = rustix::io::Errno::ADDRNOTAVAIL.raw_os_error();
            let (slot, source) = self.shared.sources.take().ok_or((Kind::Connect, i64::from(busy)))?;
            let socket = match bound(source) {
                Ok(socket) => socket,
                Err(ConnectError::SourceBusy) => continue,
                Err(ConnectError::Failed(errno)) => return Err((Kind::Connect, i64::from(errno))),
            };
            let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
            match socket.connect(self.shared.target.address).await {
                Ok(stream) => {
                    self.slot = Some(slot);
                    return Ok(stream);
                }
                Err(error) if error.raw_os_error() == Some(busy) => {}
                Err(error) => {
                    self.shared.sources.give_back(slot);
                    return Err((Kind::Connect, errno_of(&error)));
                }
            }
        }
    }

    async fn join(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        let mut text = Vec::new();
        self.shared.target.write_join(&mut text, self.index);
        self.send(socket, text).await?;
        let join_timeout = Duration::from_nanos(self.shared.timing.join_timeout_ns);
        let answered = async {
            loop {
                if let Some(ok) = self.next(socket).await? {
                    return if ok { Ok(()) } else { Err((Kind::JoinRejected, 0)) };
                }
            }
        };
        timeout(join_timeout, answered).await.map_err(|_| (Kind::JoinTimeout, 0))?
    }

    /// Reads one message. Gives the join's answer when it is that.
    async fn next(&mut self, socket: &mut Socket) -> Result<Option<bool>, Failure> {
        let message = socket.next().await.unwrap_or(Err(Error::ConnectionClosed));
        let now = monotonic_ns();
        match message.map_err(|error| self.connection_failure(&error))? {
            Message::Text(text) => {
                self.with(|account| account.counters.bytes_in += text.len() as u64);
                let read = self.shared.target.read(self.index, &text);
                match read.map_err(|_| (Kind::ProtocolError, i64::from(BAD_MESSAGE)))? {
                    Answer::Join { ok } => {
                        if ok {
                            self.joined(now);
                        }
                        return Ok(Some(ok));
                    }
                    Answer::Ended { by_error } if self.is_joined() => {
                        let rejoins = by_error && self.shared.reconnect.is_some();
                        return Err((if rejoins { Kind::ChannelError } else { Kind::ChannelClosed }, 0));
                    }
                    Answer::Ended { .. } => return Err((Kind::JoinRejected, 0)),
                    Answer::Topic { room, payload } => self.check(room, payload, now),
                    // The join has ref 1.
                    Answer::Heartbeat { number } => self.heartbeat_answered(u64::from(number).saturating_sub(1)),
                    Answer::Push { .. } | Answer::Other => {}
                }
            }
            Message::Close(frame) => {
                let code = frame.map_or(NO_STATUS, |frame| u16::from(frame.code));
                let kind = if self.is_joined() { Kind::Closed } else { Kind::JoinClosed };
                return Err((kind, i64::from(code)));
            }
            Message::Ping(_) | Message::Pong(_) => self.heard_ns = now,
            _ => {}
        }
        Ok(None)
    }

    fn joined(&mut self, now: u64) {
        self.with(|account| {
            let (seen, place) = &mut account.observers[self.at];
            if std::mem::replace(place, Place::Joined) == Place::Away {
                account.ledger.come_back(seen, self.room(), now);
                account.counters.come_back();
                account.latencies.reconnect.record_span(self.tries.lost_ns, now);
                return;
            }
            account.ledger.join(seen, self.room(), now);
            account.counters.joined += 1;
            account.counters.live += 1;
            account.latencies.join.record_span(self.due_ns, now);
        });
        self.tries.joins = 0;
    }

    fn room(&self) -> u32 {
        self.shared.target.room_of(self.index)
    }

    fn place(&self) -> Place {
        self.with(|account| account.observers[self.at].1)
    }

    fn is_joined(&self) -> bool {
        self.place() == Place::Joined
    }

    fn heartbeat_answered(&mut self, number: u64) {
        if number > self.answered {
            self.answered = number;
            self.with(|account| account.counters.heartbeat_replies += 1);
        }
    }

    /// A message on the topic: of the plan, it is a delivery, and its payload must be what its stamp makes.
    fn check(&self, room: u32, payload: &str, now: u64) {
        let account = &mut *self.account.borrow_mut();
        let stamp = Stamp::find(payload).filter(|stamp| account.ledger.is_planned(stamp.sequence, stamp.due_ns));
        let (Some(stamp), Some(payload_bytes)) = (stamp, account.ledger.plan().map(payload_bytes)) else {
            account.foreign += 1;
            return;
        };
        let mut published = Vec::with_capacity(payload_bytes);
        stamp.encode(&mut published, payload_bytes);
        account.observed += 1;
        account.mismatch += u64::from(published != payload.as_bytes());
        account.counters.deliveries += 1;
        let (seen, place) = &mut account.observers[self.at];
        // One that is away is expected as such, and can't receive any more.
        if account.ledger.is_of_room(stamp.sequence, room) && *place != Place::Away {
            account.ledger.deliver(seen, self.room(), stamp.sequence, stamp.sent_ns, now);
        } else {
            account.ledger.stray(stamp.sequence, now);
        }
    }

    /// Receives and sends heartbeats until the end. Errors: the client is lost.
    async fn stay(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        let timing = self.shared.timing;
        let joined_ns = monotonic_ns();
        let (mut beats, mut waiting_since) = (0u64, None::<u64>);
        let mut phases = self.phases.clone();
        loop {
            let answered_before = self.answered;
            let beat_ns = match timing.heartbeat_interval_ns {
                0 => u64::MAX,
                interval_ns => joined_ns + (beats + 1) * interval_ns,
            };
            let expires_ns =
                waiting_since.map_or(u64::MAX, |since| since.max(self.heard_ns) + timing.heartbeat_timeout_ns);
            tokio::select! {
                read = self.next(socket) => {
                    read?;
                    if self.answered > answered_before {
                        self.record_heartbeat(joined_ns + self.answered * timing.heartbeat_interval_ns);
                        waiting_since = waiting_since.filter(|_| self.answered < beats);
                    }
                }
                () = sleep(until(beat_ns)) => {
                    beats += 1;
                    waiting_since = waiting_since.or(Some(monotonic_ns()));
                    self.with(|account| {
                        account.counters.heartbeats += 1;
                        account.latencies.heartbeat_lag.record_span(beat_ns, monotonic_ns());
                    });
                    let mut text = Vec::new();
                    self.shared.target.write_heartbeat(&mut text, beats as u32 + 1);
                    self.send(socket, text).await?;
                }
                () = sleep(until(expires_ns)) => return Err((Kind::HeartbeatTimeout, 0)),
                _ = phases.wait_for(|phase| *phase == Phase::Closing) => return Ok(()),
            }
        }
    }

    fn record_heartbeat(&self, due_ns: u64) {
        self.with(|account| {
            let is_ramp = account.ledger.plan().is_some_and(|plan| due_ns < plan.first_due_ns);
            let latencies = &mut account.latencies;
            let recorder = if is_ramp { &mut latencies.heartbeat_ramp } else { &mut latencies.heartbeat };
            recorder.record_span(due_ns, monotonic_ns());
        });
    }

    async fn send(&self, socket: &mut Socket, text: Vec<u8>) -> Result<(), Failure> {
        let text = String::from_utf8(text).expect("messages are JSON");
        self.with(|account| account.counters.bytes_out += text.len() as u64);
        socket.send(Message::text(text)).await.map_err(|error| self.connection_failure(&error))
    }

    fn connection_failure(&self, error: &Error) -> Failure {
        match error {
            Error::Io(error) if !self.is_joined() => (Kind::JoinClosed, errno_of(error)),
            Error::Io(error) => (Kind::Reset, errno_of(error)),
            Error::Utf8(_) => (Kind::ProtocolError, 1007),
            Error::Capacity(_) => (Kind::ProtocolError, 1009),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed => {
                (if self.is_joined() { Kind::Eof } else { Kind::JoinClosed }, 0)
            }
            _ => (Kind::ProtocolError, 1002),
        }
    }

    /// Counts a loss or a failure. Gives what is to be waited for before the next try; none when there is none.
    fn lose(&mut self, kind: Kind, code: i64) -> Option<Wait> {
        let (now, room, place) = (monotonic_ns(), self.room(), self.place());
        let comes_back = self.shared.reconnect.is_some() && place != Place::Out;
        let next = if comes_back { reconnect::next(kind, code) } else { Next::Over };
        let account = &mut *self.account.borrow_mut();
        let (counters, ledger) = (&mut account.counters, &mut account.ledger);
        let (seen, to) = &mut account.observers[self.at];
        match (next, place) {
            (Next::Reconnect | Next::Rejoin, Place::Joined) => {
                ledger.leave(seen, room, now);
                counters.leave(kind, code);
                (*to, self.tries.lost_ns) = (Place::Away, now);
            }
            (Next::Reconnect | Next::Rejoin, _) => counters.retry(kind, code),
            (Next::Refused | Next::Over, Place::Away) => {
                ledger.give_up(room, now);
                match next {
                    Next::Refused => counters.refuse(code),
                    _ => counters.lose_away(kind, code),
                }
                *to = Place::Out;
            }
            (_, Place::Joined) => {
                ledger.drop_client(seen, room, now);
                counters.lose(kind, code);
                *to = Place::Out;
            }
            (_, Place::Out) => counters.fail(kind, code),
        }
        match next {
            Next::Reconnect => Some(Wait::Reconnect),
            Next::Rejoin => Some(Wait::Rejoin),
            Next::Refused | Next::Over => None,
        }
    }
}

fn payload_bytes(plan: &BroadcastPlan) -> usize {
    plan.payload_bytes as usize
}

/// From now to a time of the monotonic clock; nothing when it is over.
fn until(ns: u64) -> Duration {
    Duration::from_nanos(ns.saturating_sub(monotonic_ns()))
}

fn errno_of(error: &std::io::Error) -> i64 {
    i64::from(error.raw_os_error().unwrap_or(0))
}

fn upgrade_failure(error: &Error) -> Failure {
    match error {
        Error::Http(response) => (Kind::HttpRefused, i64::from(response.status().as_u16())),
        Error::Io(error) => (Kind::UpgradeClosed, errno_of(error)),
        Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch) => (Kind::HandshakeAccept, 0),
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed => (Kind::UpgradeClosed, 0),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => (Kind::HandshakeSubprotocol, 0),
        _ => (Kind::HandshakeMalformed, 0),
    }
}
