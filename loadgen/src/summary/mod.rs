//! What a run comes to: numbers and a verdict; as JSON by its fields, as text by `text`. Pure.

mod text;

use c2m_schema::control::{AgentStats, BroadcastLedger, ErrorCount};
use c2m_schema::histogram::{HistogramWire, Quantile, Recorder};
use serde::Serialize;

use crate::cli::RunArgs;
use crate::standalone::{Row, Seen};
use crate::verdict::{self, Verdict, describe};

/// The result of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Server.
    pub url: String,
    /// Channel.
    pub topic: String,
    /// Serializer version.
    pub serializer: String,
    /// Clients asked for.
    pub clients: u64,
    /// Whether a signal ended the run.
    pub interrupted: bool,
    /// Whether the measurement, where one was asked for, was finished.
    pub complete: bool,
    /// Clients by state.
    pub states: States,
    /// Failed and dropped clients by kind and code.
    pub errors: Vec<NamedError>,
    /// Coming back, where clients do.
    pub reconnect: Option<Returns>,
    /// Arrivals, in the ramp: latencies run from each client's due time.
    pub ramp: Ramp,
    /// Heartbeats, those of the ramp apart.
    pub heartbeats: Heartbeats,
    /// Broadcast deliveries; none when none were asked for.
    pub deliveries: Option<Deliveries>,
    /// Each broadcast.
    pub broadcasts: Vec<Broadcast>,
    /// What was said before the run began.
    pub warnings: Vec<String>,
    /// The conclusion.
    pub verdict: Verdict,
    /// Counters second by second.
    pub rows: Vec<Row>,
}

/// Clients by state.
#[derive(Clone, Debug, Serialize)]
pub struct States {
    /// Clients whose connect was begun.
    pub attempted: u64,
    /// Whose TCP connect completed; here and below each client once, however often it comes back.
    pub tcp_connected: u64,
    /// Whose upgrade completed.
    pub upgraded: u64,
    /// Whose join was answered ok.
    pub joined: u64,
    /// Most joined at once.
    pub live_peak: u64,
    /// Joined at the end: the clients held.
    pub live_at_end: u64,
    /// Undecided at the end.
    pub pending_at_end: u64,
    /// Failed before they were joined, or refused when they came back.
    pub failed: u64,
    /// Lost for good after.
    pub dropped: u64,
    /// On their way back at the end.
    pub reconnecting_at_end: u64,
}

/// Clients that came back.
#[derive(Clone, Debug, Serialize)]
pub struct Returns {
    /// How often a client was joined again.
    pub reconnects: u64,
    /// Loss to the answer of the join after it.
    pub latency: Spread,
    /// Losses that clients came back from, and failed tries that were made again.
    pub retried: Vec<NamedError>,
}

/// One way to fail.
#[derive(Clone, Debug, Serialize)]
pub struct NamedError {
    /// Kind, code and count.
    #[serde(flatten)]
    pub error: ErrorCount,
    /// What the code means: errno name, HTTP status, close code.
    pub meaning: String,
}

/// How clients arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Ramp {
    /// From the first due arrival to the last decision.
    pub seconds: f64,
    /// Joined clients per second of it.
    pub joined_per_s: f64,
    /// Due time to connect.
    pub connect: Spread,
    /// Due time to upgrade.
    pub upgrade: Spread,
    /// Due time to join.
    pub join: Spread,
    /// Due time to the begin of the connect: how late this program was.
    pub arrival_lag: Spread,
}

/// Heartbeats.
#[derive(Clone, Debug, Serialize)]
pub struct Heartbeats {
    /// Sent.
    pub sent: u64,
    /// Answered.
    pub answered: u64,
    /// Due time to answer, of those due before the measurement.
    pub ramp: Spread,
    /// Due time to answer, of the others.
    pub measure: Spread,
}

/// All broadcasts together.
#[derive(Clone, Debug, Serialize)]
pub struct Deliveries {
    /// Broadcasts sent, of those planned.
    pub sent: u64,
    /// Broadcasts planned.
    pub planned: u64,
    /// Owed to joined clients.
    pub expected: u64,
    /// Received of those.
    pub received: u64,
    /// `received / expected`.
    pub reach: Option<f64>,
    /// `expected - received`.
    pub missing: u64,
    /// Clients dropped before they received; part of `missing`.
    pub lost_by_drop: u64,
    /// Clients lost before they received, or on their way back at the due time; part of `missing`.
    pub lost_away: u64,
    /// Further copies.
    pub duplicate: u64,
    /// Received after a later one.
    pub out_of_order: u64,
    /// Received by clients that were not owed one.
    pub unexpected: u64,
    /// Received after the deadline; missing all the same.
    pub late: u64,
    /// Joined clients that lack at least one broadcast.
    pub clients_with_gaps: u64,
    /// Checked byte for byte.
    pub observed: u64,
    /// Of those, different from what was published.
    pub mismatch: u64,
    /// Other messages on the topic.
    pub foreign: u64,
    /// Due time to delivery, of received ones.
    pub latency: Spread,
    /// Send time to delivery: hides a publisher that was late.
    pub uncorrected: Spread,
    /// Due time to the last delivery, over broadcasts.
    pub last: Spread,
    /// Due time to sending: how late this program was.
    pub publish_lag: Spread,
}

/// One broadcast.
#[derive(Clone, Debug, Serialize)]
pub struct Broadcast {
    /// From 0.
    pub sequence: u32,
    /// Whether it was sent.
    pub sent: bool,
    /// Owed.
    pub expected: u64,
    /// Received.
    pub received: u64,
    /// Further copies.
    pub duplicate: u64,
    /// Received after a later one.
    pub out_of_order: u64,
    /// Received by clients that were not owed one.
    pub unexpected: u64,
    /// Lost with a dropped client.
    pub lost_by_drop: u64,
    /// Lost to clients that come back.
    pub lost_away: u64,
    /// Due time to the server's reply to the push.
    pub replied_ns: Option<u64>,
    /// Due time to the first delivery.
    pub first_ns: Option<u64>,
    /// Due time to the last delivery.
    pub last_ns: Option<u64>,
    /// Due time to delivery.
    pub latency: Spread,
}

/// A distribution in few numbers: nanoseconds, none without samples or beyond the recorded range.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 90 %.
    pub p90_ns: Option<u64>,
    /// 99 %.
    pub p99_ns: Option<u64>,
    /// 99.9 %.
    pub p999_ns: Option<u64>,
    /// 99.99 %.
    pub p9999_ns: Option<u64>,
    /// Exact maximum.
    pub max_ns: Option<u64>,
    /// Samples beyond the range.
    pub over_range: u64,
    /// Negative durations: clock faults.
    pub clock_faults: u64,
    #[serde(skip)]
    quantiles: [Option<Quantile>; 5],
}

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];

impl From<&Recorder> for Spread {
    fn from(recorder: &Recorder) -> Self {
        let quantiles = QUANTILES.map(|quantile| recorder.quantile(quantile));
        let [p50_ns, p90_ns, p99_ns, p999_ns, p9999_ns] = quantiles.map(|quantile| quantile.and_then(Quantile::ns));
        Self {
            count: recorder.count(),
            p50_ns,
            p90_ns,
            p99_ns,
            p999_ns,
            p9999_ns,
            max_ns: recorder.max_ns(),
            over_range: recorder.over_range(),
            clock_faults: recorder.negative(),
            quantiles,
        }
    }
}

/// This program's own wire form always reads back.
fn read(wire: &HistogramWire) -> Recorder {
    wire.to_recorder().expect("written by this build")
}

fn merged<'a>(wires: impl Iterator<Item = &'a HistogramWire>) -> Recorder {
    let mut all = Recorder::new();
    wires.for_each(|wire| all.merge(&read(wire)));
    all
}

impl Summary {
    /// Sums up a run.
    pub fn new(args: &RunArgs, seen: &Seen) -> Self {
        let summary = &seen.outcome.summary;
        let metric = |name: &str| {
            let wire = summary.latency.iter().find(|(metric, _)| metric == name);
            Spread::from(&wire.map(|(_, wire)| read(wire)).unwrap_or_default())
        };
        let stats = &summary.stats;
        let deliveries = (args.broadcasts > 0).then(|| Deliveries::new(seen, metric("publish_lag")));
        let ramp = Ramp {
            seconds: seen.ramp_s,
            joined_per_s: if seen.ramp_s > 0.0 { stats.joined as f64 / seen.ramp_s } else { 0.0 },
            connect: metric("connect"),
            upgrade: metric("upgrade"),
            join: metric("join"),
            arrival_lag: metric("arrival_lag"),
        };
        let verdict = verdict::judge(&verdict::Case {
            clients: args.clients,
            stats,
            deliveries: deliveries.as_ref(),
            arrival_lag_p99_ns: ramp.arrival_lag.p99_ns.or(ramp.arrival_lag.max_ns),
            is_complete: seen.is_complete,
            is_interrupted: seen.is_interrupted,
        });
        let named =
            |error: &ErrorCount| NamedError { error: error.clone(), meaning: describe(&error.kind, error.code) };
        Self {
            url: args.url.clone(),
            topic: args.topic.clone(),
            serializer: args.serializer.clone(),
            clients: args.clients,
            interrupted: seen.is_interrupted,
            complete: seen.is_complete,
            states: States::new(stats, seen.live_peak),
            errors: stats.errors.iter().map(named).collect(),
            reconnect: args.reconnect.then(|| Returns {
                reconnects: stats.reconnects,
                latency: metric("reconnect"),
                retried: stats.retried.iter().map(named).collect(),
            }),
            ramp,
            heartbeats: Heartbeats {
                sent: stats.heartbeats,
                answered: stats.heartbeat_replies,
                ramp: metric("heartbeat_ramp"),
                measure: metric("heartbeat"),
            },
            deliveries,
            broadcasts: summary.broadcasts.iter().map(Broadcast::from).collect(),
            warnings: seen.warnings.clone(),
            verdict,
            rows: seen.rows.clone(),
        }
    }

    /// Whether every client joined and stayed, and nothing is missing or double.
    pub fn is_ok(&self) -> bool {
        self.verdict.ok
    }
}

impl States {
    fn new(stats: &AgentStats, live_peak: u64) -> Self {
        Self {
            attempted: stats.attempted,
            tcp_connected: stats.tcp_connected,
            upgraded: stats.upgraded,
            joined: stats.joined,
            live_peak,
            live_at_end: stats.live,
            pending_at_end: stats.pending,
            failed: stats.failed,
            dropped: stats.dropped,
            reconnecting_at_end: stats.reconnecting,
        }
    }
}

impl Deliveries {
    fn new(seen: &Seen, publish_lag: Spread) -> Self {
        let ledgers = &seen.outcome.summary.broadcasts;
        let sum = |count: fn(&BroadcastLedger) -> u64| ledgers.iter().map(count).sum::<u64>();
        let (expected, received) = (sum(|ledger| ledger.expected), sum(|ledger| ledger.received));
        let mut last = Recorder::new();
        for ledger in ledgers {
            ledger.last_ns.into_iter().for_each(|last_ns| last.record_span(ledger.due_ns, last_ns));
        }
        Self {
            sent: sum(|ledger| u64::from(ledger.sent_ns.is_some())),
            planned: u64::from(seen.broadcasts_planned),
            expected,
            received,
            reach: (expected > 0).then(|| received as f64 / expected as f64),
            missing: expected - received,
            lost_by_drop: sum(|ledger| ledger.lost_by_drop),
            lost_away: sum(|ledger| ledger.lost_away),
            duplicate: sum(|ledger| ledger.duplicate),
            out_of_order: sum(|ledger| ledger.out_of_order),
            unexpected: sum(|ledger| ledger.unexpected),
            late: seen.outcome.late,
            clients_with_gaps: seen.outcome.gapped,
            observed: seen.outcome.summary.observed,
            mismatch: seen.outcome.summary.observed_mismatch,
            foreign: seen.outcome.foreign,
            latency: Spread::from(&merged(ledgers.iter().map(|ledger| &ledger.from_due))),
            uncorrected: Spread::from(&merged(ledgers.iter().map(|ledger| &ledger.from_sent))),
            last: Spread::from(&last),
            publish_lag,
        }
    }
}

impl From<&BroadcastLedger> for Broadcast {
    fn from(ledger: &BroadcastLedger) -> Self {
        let since_due = |ns: Option<u64>| ns.map(|ns| ns.saturating_sub(ledger.due_ns));
        Self {
            sequence: ledger.sequence,
            sent: ledger.sent_ns.is_some(),
            expected: ledger.expected,
            received: ledger.received,
            duplicate: ledger.duplicate,
            out_of_order: ledger.out_of_order,
            unexpected: ledger.unexpected,
            lost_by_drop: ledger.lost_by_drop,
            lost_away: ledger.lost_away,
            replied_ns: since_due(ledger.replied_ns),
            first_ns: since_due(ledger.first_ns),
            last_ns: since_due(ledger.last_ns),
            latency: Spread::from(&read(&ledger.from_due)),
        }
    }
}
