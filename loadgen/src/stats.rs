//! What a thread counts: states, failures by kind, distributions. Each thread owns its counters and publishes copies of
//! them into a [`Board`] of its own, each copy consistent in itself, so sums of copies are too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use c2m_schema::control::{AgentStats, ErrorCount};
use c2m_schema::histogram::Recorder;

/// How a client fails before it is joined, or is lost after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `socket`, `bind` or `connect` failed; code errno. 99 (`EADDRNOTAVAIL`) also when every source is in use.
    Connect,
    /// The TCP connect did not complete in time.
    ConnectTimeout,
    /// An HTTP status other than 101; code status.
    HttpRefused,
    /// `Sec-WebSocket-Accept` is not the answer to the key.
    HandshakeAccept,
    /// The server answered with an extension that was not offered.
    HandshakeExtension,
    /// The server chose a subprotocol that was not offered.
    HandshakeSubprotocol,
    /// A 101 that is no upgrade, or no HTTP at all.
    HandshakeMalformed,
    /// No answer to the upgrade request in time.
    UpgradeTimeout,
    /// The connection ended before the upgrade; code errno, 0 for an end of file.
    UpgradeClosed,
    /// The join was answered with an error.
    JoinRejected,
    /// No answer to the join in time.
    JoinTimeout,
    /// The connection ended before the join's answer; code close code, errno, or 0 for an end of file.
    JoinClosed,
    /// A joined client was closed by a close frame; code close code, 1005 for none.
    Closed,
    /// The connection of a joined client broke; code errno.
    Reset,
    /// The connection of a joined client ended without a close frame.
    Eof,
    /// A heartbeat stayed unanswered.
    HeartbeatTimeout,
    /// The server broke the protocol; code the close code that says how.
    ProtocolError,
    /// `phx_close` or `phx_error` for the client's join.
    ChannelClosed,
    /// `phx_error` for the join of a client that joins again.
    ChannelError,
    /// A client that came back was refused for good; code HTTP status.
    ReconnectRefused,
}

impl Kind {
    /// Name on the control lines and in `errors.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::HttpRefused => "http_refused",
            Self::HandshakeAccept => "handshake_accept",
            Self::HandshakeExtension => "handshake_extension",
            Self::HandshakeSubprotocol => "handshake_subprotocol",
            Self::HandshakeMalformed => "handshake_malformed",
            Self::UpgradeTimeout => "upgrade_timeout",
            Self::UpgradeClosed => "upgrade_closed",
            Self::JoinRejected => "join_rejected",
            Self::JoinTimeout => "join_timeout",
            Self::JoinClosed => "join_closed",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::ProtocolError => "protocol_error",
            Self::ChannelClosed => "channel_closed",
            Self::ChannelError => "channel_error",
            Self::ReconnectRefused => "reconnect_refused",
        }
    }
}

/// Counters of one thread. Pending clients follow: `attempted - failed - live - dropped - reconnecting`. A client counts
/// once in `attempted`, `tcp_connected`, `upgraded` and `joined`, however often it comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Clients whose connect was begun.
    pub attempted: u64,
    /// Clients whose TCP connect completed.
    pub tcp_connected: u64,
    /// Clients whose upgrade completed.
    pub upgraded: u64,
    /// Clients whose join was answered ok.
    pub joined: u64,
    /// Clients joined now.
    pub live: u64,
    /// Clients that failed before they were joined, or were refused when they came back.
    pub failed: u64,
    /// Clients lost for good after they were joined.
    pub dropped: u64,
    /// Broadcast deliveries received, whatever the ledger makes of them.
    pub deliveries: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Heartbeats answered.
    pub heartbeat_replies: u64,
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes written to sockets.
    pub bytes_out: u64,
    /// Failed and dropped clients by kind and code.
    pub errors: BTreeMap<(Kind, i64), u64>,
    /// Clients that read slowly or never, of `joined`.
    pub slow: u64,
    /// Those of them that were lost, of `dropped`.
    pub slow_dropped: u64,
    /// Clients that were joined and are on their way back.
    pub reconnecting: u64,
    /// How often a client was joined again.
    pub reconnects: u64,
    /// Losses that clients came back from, and failed tries that are made again, by kind and code.
    pub retried: BTreeMap<(Kind, i64), u64>,
}

impl Counters {
    /// Clients between the begin of their connect and their join.
    pub fn pending(&self) -> u64 {
        self.attempted - self.failed - self.live - self.dropped - self.reconnecting
    }

    /// A client that had not been joined failed.
    pub fn fail(&mut self, kind: Kind, code: i64) {
        self.failed += 1;
        *self.errors.entry((kind, code)).or_default() += 1;
    }

    /// A joined client was lost.
    pub fn lose(&mut self, kind: Kind, code: i64) {
        self.live -= 1;
        self.dropped += 1;
        *self.errors.entry((kind, code)).or_default() += 1;
    }

    /// A joined client was lost and will come back.
    pub fn leave(&mut self, kind: Kind, code: i64) {
        self.live -= 1;
        self.reconnecting += 1;
        self.retry(kind, code);
    }

    /// A client on its way back failed and will try again.
    pub fn retry(&mut self, kind: Kind, code: i64) {
        *self.retried.entry((kind, code)).or_default() += 1;
    }

    /// A client is joined again.
    pub fn come_back(&mut self) {
        self.reconnecting -= 1;
        self.live += 1;
        self.reconnects += 1;
    }

    /// A client on its way back was refused for good.
    pub fn refuse(&mut self, code: i64) {
        self.reconnecting -= 1;
        self.fail(Kind::ReconnectRefused, code);
    }

    /// A client on its way back was ended in order.
    pub fn lose_away(&mut self, kind: Kind, code: i64) {
        self.reconnecting -= 1;
        self.live += 1;
        self.lose(kind, code);
    }

    /// Adds the counters of another thread.
    pub fn add(&mut self, other: &Self) {
        self.attempted += other.attempted;
        self.tcp_connected += other.tcp_connected;
        self.upgraded += other.upgraded;
        self.joined += other.joined;
        self.live += other.live;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.deliveries += other.deliveries;
        self.heartbeats += other.heartbeats;
        self.heartbeat_replies += other.heartbeat_replies;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.slow += other.slow;
        self.slow_dropped += other.slow_dropped;
        self.reconnecting += other.reconnecting;
        self.reconnects += other.reconnects;
        for (&error, count) in &other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (&error, count) in &other.retried {
            *self.retried.entry(error).or_default() += count;
        }
    }

    /// The control line's form.
    pub fn to_stats(&self, at_ns: u64, lag_max_ns: u64) -> AgentStats {
        let error =
            |(&(kind, code), &count): (&(Kind, i64), &u64)| ErrorCount { kind: kind.name().to_owned(), code, count };
        AgentStats {
            at_ns,
            attempted: self.attempted,
            pending: self.pending(),
            tcp_connected: self.tcp_connected,
            upgraded: self.upgraded,
            joined: self.joined,
            live: self.live,
            failed: self.failed,
            dropped: self.dropped,
            deliveries: self.deliveries,
            heartbeats: self.heartbeats,
            heartbeat_replies: self.heartbeat_replies,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            lag_max_ns,
            errors: self.errors.iter().map(error).collect(),
            slow: self.slow,
            slow_dropped: self.slow_dropped,
            reconnecting: self.reconnecting,
            reconnects: self.reconnects,
            retried: self.retried.iter().map(error).collect(),
        }
    }
}

/// Distributions of one thread.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// Arrival's due time to the completed TCP connect.
    pub connect: Recorder,
    /// Arrival's due time to the completed upgrade.
    pub upgrade: Recorder,
    /// Arrival's due time to the join's answer.
    pub join: Recorder,
    /// Arrival's due time to the begin of its connect.
    pub arrival_lag: Recorder,
    /// Heartbeat's due time to its answer, of heartbeats due since the measurement began, or of all without one.
    pub heartbeat: Recorder,
    /// The same of heartbeats due before the measurement.
    pub heartbeat_ramp: Recorder,
    /// Heartbeat's due time to its sending.
    pub heartbeat_lag: Recorder,
    /// Broadcast's due time to its sending.
    pub publish_lag: Recorder,
    /// A loss to the answer of the join after it.
    pub reconnect: Recorder,
}

impl Latencies {
    /// Adds the samples of another thread.
    pub fn merge(&mut self, other: &Self) {
        for ((_, mine), (_, theirs)) in self.named_mut().into_iter().zip(other.named()) {
            mine.merge(theirs);
        }
    }

    /// A measurement begins: what was recorded of heartbeats so far belongs to the ramp.
    pub fn begin_measure(&mut self) {
        self.heartbeat_ramp.merge(&self.heartbeat);
        self.heartbeat.clear();
    }

    /// Every distribution by its metric's name.
    pub fn named(&self) -> [(&'static str, &Recorder); 9] {
        [
            ("connect", &self.connect),
            ("upgrade", &self.upgrade),
            ("join", &self.join),
            ("arrival_lag", &self.arrival_lag),
            ("heartbeat", &self.heartbeat),
            ("heartbeat_ramp", &self.heartbeat_ramp),
            ("heartbeat_lag", &self.heartbeat_lag),
            ("publish_lag", &self.publish_lag),
            ("reconnect", &self.reconnect),
        ]
    }

    fn named_mut(&mut self) -> [(&'static str, &mut Recorder); 9] {
        [
            ("connect", &mut self.connect),
            ("upgrade", &mut self.upgrade),
            ("join", &mut self.join),
            ("arrival_lag", &mut self.arrival_lag),
            ("heartbeat", &mut self.heartbeat),
            ("heartbeat_ramp", &mut self.heartbeat_ramp),
            ("heartbeat_lag", &mut self.heartbeat_lag),
            ("publish_lag", &mut self.publish_lag),
            ("reconnect", &mut self.reconnect),
        ]
    }
}

/// Where one thread publishes its counters for the main thread.
#[derive(Debug, Default)]
pub struct Board(Mutex<(Counters, u64)>);

impl Board {
    /// Shows `counters`, and the worst arrival lag since the last call.
    pub fn publish(&self, counters: &Counters, lag_max_ns: u64) {
        let mut shown = self.shown();
        shown.0.clone_from(counters);
        shown.1 = shown.1.max(lag_max_ns);
    }

    /// Adds what is shown to `sum`.
    pub fn add_to(&self, sum: &mut Counters) {
        sum.add(&self.shown().0);
    }

    /// The worst arrival lag since the last call.
    pub fn take_lag_max_ns(&self) -> u64 {
        std::mem::take(&mut self.shown().1)
    }

    fn shown(&self) -> MutexGuard<'_, (Counters, u64)> {
        self.0.lock().expect("no thread panics with this lock")
    }
}

/// What a thread knows at the end.
#[derive(Clone, Debug, Default)]
pub struct Final {
    /// Counters, before any client is closed.
    pub counters: Counters,
    /// Distributions.
    pub latencies: Latencies,
    /// Copies of broadcasts that came after their deadline.
    pub late: u64,
    /// Messages on the topic that are not of the broadcast plan.
    pub foreign: u64,
    /// Joined clients that lack a broadcast they are owed.
    pub gapped: u64,
    /// Deliveries checked byte for byte.
    pub observed: u64,
    /// Of those, how many differed.
    pub observed_mismatch: u64,
}

impl Final {
    /// Adds what another thread knows.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.latencies.merge(&other.latencies);
        self.late += other.late;
        self.foreign += other.foreign;
        self.gapped += other.gapped;
        self.observed += other.observed;
        self.observed_mismatch += other.observed_mismatch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_balance_and_errors_sum_to_failed_and_dropped() {
        let mut counters = Counters { attempted: 10, joined: 6, live: 6, ..Counters::default() };
        counters.fail(Kind::HttpRefused, 403);
        counters.fail(Kind::HttpRefused, 403);
        counters.lose(Kind::Closed, 1000);
        let mut sum = counters.clone();
        sum.add(&counters);
        let stats = sum.to_stats(7, 8);
        assert_eq!((stats.attempted, stats.pending, stats.failed, stats.live, stats.dropped), (20, 4, 4, 10, 2));
        assert_eq!(stats.attempted, stats.pending + stats.failed + stats.live + stats.dropped);
        let errors: Vec<_> = stats.errors.iter().map(|error| (error.kind.as_str(), error.code, error.count)).collect();
        assert_eq!(errors, [("http_refused", 403, 4), ("closed", 1000, 2)]);
    }

    /// C27: a client is in one state at any time, and a reconnect is no attempt.
    #[test]
    fn a_client_on_its_way_back_has_a_state_of_its_own() {
        let mut counters = Counters { attempted: 5, joined: 5, live: 5, ..Counters::default() };
        let states = |counters: &Counters| {
            let stats = counters.to_stats(0, 0);
            let parts = stats.pending + stats.failed + stats.live + stats.dropped + stats.reconnecting;
            assert_eq!((stats.attempted, stats.joined, parts), (5, 5, 5));
            [stats.live, stats.reconnecting, stats.reconnects, stats.failed, stats.dropped]
        };
        (0..4).for_each(|_| counters.leave(Kind::Closed, 1012));
        counters.retry(Kind::Connect, 111);
        assert_eq!(states(&counters), [1, 4, 0, 0, 0]);
        counters.come_back();
        assert_eq!(states(&counters), [2, 3, 1, 0, 0]);
        counters.refuse(403);
        assert_eq!(states(&counters), [2, 2, 1, 1, 0]);
        counters.lose_away(Kind::JoinClosed, 1000);
        assert_eq!(states(&counters), [2, 1, 1, 1, 1]);
        let stats = counters.to_stats(0, 0);
        let told = |list: &[ErrorCount]| list.iter().map(|e| format!("{} {} {}", e.kind, e.code, e.count)).collect();
        let (errors, retried): (Vec<String>, Vec<String>) = (told(&stats.errors), told(&stats.retried));
        assert_eq!(errors, ["join_closed 1000 1", "reconnect_refused 403 1"]);
        assert_eq!(retried, ["connect 111 1", "closed 1012 4"]);
    }

    #[test]
    fn heartbeats_of_the_ramp_are_kept_apart_and_merge_by_name() {
        let mut latencies = Latencies::default();
        latencies.heartbeat.record(300_000_000);
        latencies.begin_measure();
        latencies.heartbeat.record(1_000_000);
        let mut sum = Latencies::default();
        sum.merge(&latencies);
        sum.merge(&latencies);
        assert_eq!((sum.heartbeat.count(), sum.heartbeat_ramp.count(), sum.join.count()), (2, 2, 0));
        assert_eq!(sum.heartbeat.max_ns(), Some(1_000_000));
    }

    #[test]
    fn the_worst_lag_is_told_once() {
        let board = Board::default();
        board.publish(&Counters::default(), 5);
        board.publish(&Counters::default(), 3);
        assert_eq!((board.take_lag_max_ns(), board.take_lag_max_ns()), (5, 0));
    }
}
