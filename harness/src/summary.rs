//! From what a repetition left behind to the rows of the run directory. Pure.
//!
//! Deliveries come from the measure phase's ledgers and from nothing else: a measurement that is not complete makes the
//! point `failed`, and never falls back to figures of the ramp.

use c2m_schema::SCHEMA_VERSION;
use c2m_schema::control::AgentStats;
use c2m_schema::histogram::Recorder;
use c2m_schema::rooms::Rooms;
use c2m_schema::rows::{BroadcastRow, ErrorRow, LatencyRow, PointRow, Status};

use crate::experiment::Experiment;
use crate::run::raw::{End, Raw};

mod expectations;
pub(crate) mod ledger;
mod memory;
mod saturation;

pub use expectations::misses;
pub use saturation::{Lags, saturated};

/// The rows of one repetition.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Its row of `points.csv`.
    pub point: PointRow,
    /// Its rows of `broadcasts.csv`.
    pub broadcasts: Vec<BroadcastRow>,
    /// Its rows of `latency.csv`.
    pub latency: Vec<LatencyRow>,
    /// Its rows of `errors.csv`.
    pub errors: Vec<ErrorRow>,
}

/// Metrics of agents in `latency.csv`, in this order.
const METRICS: [&str; 8] =
    ["connect", "upgrade", "join", "arrival_lag", "heartbeat", "heartbeat_lag", "publish_lag", "reconnect"];

/// Derives the rows. `begin_ns` is the begin of the run on the monotonic clock, which all times are counted from.
pub fn rows(e: &Experiment, raw: &Raw, begin_ns: u64) -> Rows {
    let merged = ledger::merge(raw);
    let mut point = blank(e, &raw.point, raw.repetition);
    counters(&mut point, raw, begin_ns);
    memory::fill(&mut point, raw);
    let metrics: Vec<(&str, Recorder)> = METRICS.iter().filter_map(|m| Some((*m, metric(raw, m)?))).collect();
    arrival(&mut point, raw, &metrics);
    let rooms = raw.point.room_plan(e, 0).map(Rooms::new);
    let row = |b: &ledger::Merged| BroadcastRow {
        lost_away: e.clients.reconnect.then_some(b.lost_away()),
        ..b.row(&raw.point, rooms.as_ref(), raw.repetition, begin_ns)
    };
    let broadcasts: Vec<BroadcastRow> = merged.iter().map(row).collect();
    if raw.broadcasts.is_some() {
        ledger::totals(&mut point, &merged, raw);
    }
    if e.clients.reconnect && raw.start_ns.is_some() {
        returns(&mut point, raw, &broadcasts);
    }
    point.loadgen_saturated = saturated(&Lags {
        arrival_p99_ns: quantile(&metrics, "arrival_lag", 0.99),
        heartbeat_p99_ns: quantile(&metrics, "heartbeat_lag", 0.99),
        publish_max_ns: point.publish_lag_max_ns,
        interval_ns: raw.broadcasts.as_ref().map(|b| b.interval_ns),
    });
    let errors = errors(e, raw);
    (point.status, point.reason) = outcome(e, raw, &point, &merged, &errors);
    let mut latency = Vec::new();
    for (name, recorder) in &metrics {
        buckets(&mut latency, raw, name, None, recorder);
    }
    for b in &merged {
        buckets(&mut latency, raw, "delivery", Some(b.sequence), &b.from_due);
        buckets(&mut latency, raw, "delivery_uncorrected", Some(b.sequence), &b.from_sent);
    }
    Rows { point, broadcasts, latency, errors }
}

/// The row of a repetition of which nothing is known yet.
pub fn blank(e: &Experiment, point: &crate::plan::Point, repetition: u32) -> PointRow {
    PointRow {
        schema: SCHEMA_VERSION.into(),
        experiment: e.name.clone(),
        point: point.index,
        repetition,
        variant: point.variant.clone(),
        clients_target: point.clients,
        payload_bytes: Some(point.payload_bytes),
        rooms: point.rooms.map(|(count, _)| u64::from(count)),
        ..PointRow::default()
    }
}

fn counters(row: &mut PointRow, raw: &Raw, begin_ns: u64) {
    // Another server does not say how it is made.
    row.server_shards = raw.ready.as_ref().map(|r| r.shards).filter(|&shards| shards > 0);
    row.agent_workers = raw.agents.iter().map(|a| a.prepared.as_ref().map(|p| p.workers)).sum();
    row.started_ns = raw.start_ns.map(|ns| ns.saturating_sub(begin_ns));
    row.ended_ns = Some(raw.ended_ns.saturating_sub(begin_ns));
    if raw.start_ns.is_none() {
        return;
    }
    row.attempted = Some(raw.sum(|a| a.attempted));
    row.tcp_connected = Some(raw.sum(|a| a.tcp_connected));
    row.upgraded = Some(raw.sum(|a| a.upgraded));
    row.joined = Some(raw.sum(|a| a.joined));
    // The clients of an agent that was lost went with it.
    let gone = |of: fn(&AgentStats) -> u64| -> u64 {
        raw.agents.iter().filter(|a| a.lost.is_some()).map(|a| of(&a.stats)).sum()
    };
    row.live_at_end = Some(raw.sum(|a| a.live) - gone(|a| a.live));
    row.dropped = Some(raw.sum(|a| a.dropped) + gone(|a| a.live + a.reconnecting));
    if raw.point.slow_clients.is_some() {
        row.slow_clients = Some(raw.sum(|a| a.slow));
        row.slow_dropped = Some(raw.sum(|a| a.slow_dropped));
    }
    if raw.agents.iter().all(|a| a.summary.is_some()) {
        row.observed = Some(raw.agents.iter().filter_map(|a| a.summary.as_ref()).map(|s| s.observed).sum());
        row.observed_mismatch =
            Some(raw.agents.iter().filter_map(|a| a.summary.as_ref()).map(|s| s.observed_mismatch).sum());
    }
}

/// The columns of clients that come back.
fn returns(row: &mut PointRow, raw: &Raw, broadcasts: &[BroadcastRow]) {
    let refused = |a: &AgentStats| a.errors.iter().filter(|e| e.kind == "reconnect_refused").map(|e| e.count).sum();
    let living = raw.agents.iter().filter(|a| a.lost.is_none());
    row.reconnects = Some(raw.sum(|a| a.reconnects));
    row.reconnecting_at_end = Some(living.map(|a| a.stats.reconnecting).sum());
    row.reconnect_refused = Some(raw.sum(refused));
    if !broadcasts.is_empty() {
        row.deliveries_lost_away = broadcasts.iter().map(|b| b.lost_away).sum();
    }
}

fn arrival(row: &mut PointRow, raw: &Raw, metrics: &[(&str, Recorder)]) {
    let last_join_ns = raw.agents.iter().filter_map(|a| a.last_join_ns).max();
    if let (Some(start), Some(last), Some(joined)) = (raw.start_ns, last_join_ns, row.joined)
        && last > start
    {
        row.arrival_per_s = Some(joined as f64 * 1e9 / (last - start) as f64);
    }
    row.connect_p99_ns = quantile(metrics, "connect", 0.99);
    row.upgrade_p99_ns = quantile(metrics, "upgrade", 0.99);
    row.join_p50_ns = quantile(metrics, "join", 0.5);
    row.join_p99_ns = quantile(metrics, "join", 0.99);
    row.join_max_ns = find(metrics, "join").and_then(Recorder::max_ns);
    row.arrival_lag_max_ns = find(metrics, "arrival_lag").and_then(Recorder::max_ns);
    row.publish_lag_max_ns = find(metrics, "publish_lag").and_then(Recorder::max_ns);
}

/// The merged distribution of one metric; none when no agent that came to its end recorded it.
fn metric(raw: &Raw, name: &str) -> Option<Recorder> {
    let mut merged: Option<Recorder> = None;
    for (metric, wire) in raw.agents.iter().filter_map(|a| a.summary.as_ref()).flat_map(|s| &s.latency) {
        // A histogram that can't be read was refused when its line came.
        if metric == name
            && let Ok(recorder) = wire.to_recorder()
        {
            merged.get_or_insert_default().merge(&recorder);
        }
    }
    merged
}

fn find<'a>(metrics: &'a [(&str, Recorder)], name: &str) -> Option<&'a Recorder> {
    metrics.iter().find(|(n, _)| *n == name).map(|(_, r)| r)
}

fn quantile(metrics: &[(&str, Recorder)], name: &str, q: f64) -> Option<u64> {
    find(metrics, name).and_then(|r| r.quantile_ns(q))
}

fn buckets(rows: &mut Vec<LatencyRow>, raw: &Raw, metric: &str, sequence: Option<u32>, recorder: &Recorder) {
    rows.extend(recorder.buckets().into_iter().map(|(bucket_high_ns, count)| LatencyRow {
        point: raw.point.index,
        repetition: raw.repetition,
        metric: metric.to_owned(),
        sequence,
        bucket_high_ns,
        count,
    }));
}

/// Failures of every side. An agent that was lost stands with the clients that went with it.
fn errors(e: &Experiment, raw: &Raw) -> Vec<ErrorRow> {
    let row = |side: &str, kind: &str, code: i64, count: u64| ErrorRow {
        point: raw.point.index,
        repetition: raw.repetition,
        side: side.to_owned(),
        kind: kind.to_owned(),
        code,
        count,
        retried: (e.clients.reconnect && side != "server").then_some(false),
    };
    let mut rows = Vec::new();
    for e in raw.server_stats.iter().flat_map(|s| &s.errors) {
        rows.push(row("server", &e.kind, e.code, e.count));
    }
    for (i, agent) in raw.agents.iter().enumerate() {
        let side = format!("agent-{i}");
        rows.extend(agent.stats.errors.iter().map(|e| row(&side, &e.kind, e.code, e.count)));
        if agent.lost.is_some() {
            rows.push(row(&side, "agent_lost", 0, agent.stats.live + agent.stats.reconnecting));
        }
        let retried = agent.stats.retried.iter();
        rows.extend(retried.map(|e| ErrorRow { retried: Some(true), ..row(&side, &e.kind, e.code, e.count) }));
    }
    rows
}

/// Status and reason.
fn outcome(
    e: &Experiment,
    raw: &Raw,
    row: &PointRow,
    merged: &[ledger::Merged],
    errors: &[ErrorRow],
) -> (Status, String) {
    let with_hints = |mut reasons: Vec<String>| {
        reasons.extend(expectations::hints(raw, row, errors));
        reasons.join("; ")
    };
    match &raw.end {
        End::Interrupted(reason) => return (Status::Interrupted, reason.clone()),
        End::ServerLost(reason) => return (Status::Failed, reason.clone()),
        End::AgentLost(reason) => return (Status::Partial, reason.clone()),
        End::Failed(reason) => return (Status::Failed, with_hints(vec![reason.clone()])),
        End::Complete => {}
    }
    if let Some(reason) = ledger::incomplete(raw, merged) {
        return (Status::Failed, with_hints(vec![reason]));
    }
    let lost: Vec<String> = raw.agents.iter().filter_map(|a| a.lost.clone()).collect();
    if !lost.is_empty() {
        return (Status::Partial, lost.join("; "));
    }
    let misses = misses(&e.expect, row);
    if misses.is_empty() { (Status::Ok, String::new()) } else { (Status::Failed, with_hints(misses)) }
}
