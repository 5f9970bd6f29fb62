//! The tables of the report. Pure functions.

use c2m_schema::rows::{BroadcastRow, ErrorRow, PointRow, Status};
use maud::{Markup, html};

use super::words;
use crate::draw::number;
use crate::rundir::{RunDir, status_name};

/// A column: its head, and a row's cell.
type Column<R> = (&'static str, fn(&R) -> String);

pub(super) const NOT_MEASURED: &str = "—";

pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| NOT_MEASURED.to_owned())
}

fn count(value: Option<u64>) -> String {
    or_dash(value.map(number::count))
}

fn duration(value: Option<u64>) -> String {
    or_dash(value.map(|ns| number::duration(ns as f64)))
}

fn bytes(value: Option<f64>) -> String {
    or_dash(value.map(number::bytes))
}

/// What came of the clients and the broadcasts.
const OUTCOME: &[Column<PointRow>] = &[
    ("held", |p| count(p.live_at_end.or(p.joined))),
    ("lost", |p| count(p.dropped)),
    ("joins per s", |p| or_dash(p.arrival_per_s.map(|r| number::count(r.max(0.0).round() as u64)))),
    ("join p50", |p| duration(p.join_p50_ns)),
    ("join p99", |p| duration(p.join_p99_ns)),
    ("missing", |p| count(p.deliveries_missing)),
    ("to all p50", |p| duration(p.last_delivery_p50_ns)),
    ("to all max", |p| duration(p.last_delivery_max_ns)),
    ("delivery p99", |p| duration(p.delivery_p99_ns)),
];

/// What each measurement cost.
const COST: &[Column<PointRow>] = &[
    ("server RSS", |p| bytes(p.server_rss_bytes.map(|b| b as f64))),
    ("server per client", |p| bytes(p.server_user_bytes_per_client)),
    ("agents per client", |p| bytes(p.agent_user_bytes_per_client)),
    ("kernel per client", |p| bytes(p.kernel_bytes_per_client)),
    ("all-in per client", |p| bytes(p.all_in_bytes_per_client)),
    ("server CPU per million deliveries", |p| or_dash(cpu_per_million(p).map(number::duration))),
    ("generator", |p| or_dash(p.loadgen_saturated.map(|s| if s { "saturated" } else { "kept up" }.to_owned()))),
];

/// CPU time of the server per million deliveries of the measure phase, in nanoseconds.
pub(crate) fn cpu_per_million(p: &PointRow) -> Option<f64> {
    let deliveries = p.deliveries_received.filter(|n| *n > 0)?;
    Some(p.server_measure_cpu_ns? as f64 / deliveries as f64 * 1e6)
}

/// One row per (point, repetition): first the outcome, then the cost.
pub(super) fn sweep(run: &RunDir) -> Markup {
    html! {
        (points(run, OUTCOME, true))
        h3 { "What each cost" }
        (points(run, COST, false))
        p.note { "Bytes per client are above the baseline before the first client; all-in is the sum of server, agents and \
            kernel. — was not measured." }
    }
}

fn points(run: &RunDir, columns: &[Column<PointRow>], with_status: bool) -> Markup {
    let variants = run.points.iter().any(|p| !p.variant.is_empty());
    html! { div.scroll tabindex="0" { table {
        thead { tr {
            th { "clients" }
            @if variants { th.text { "variant" } }
            th { "repetition" }
            @if with_status { th.text { "status" } }
            @for (head, _) in columns { th { (head) } }
        } }
        tbody { @for p in &run.points { tr {
            td { b { (number::count(p.clients_target)) } }
            @if variants { td.text { (p.variant) } }
            td { (p.repetition + 1) }
            @if with_status { td.text { (status(p.status)) } }
            @for (_, cell) in columns { td { (cell(p)) } }
        } } }
    } } }
}

/// A status as a coloured word.
pub(super) fn status(status: Status) -> Markup {
    let class = match status {
        Status::Ok => "good",
        Status::Skipped => "plain",
        Status::Failed | Status::Partial | Status::Interrupted => "bad",
    };
    html! { span class={ "status " (class) } { (status_name(status)) } }
}

/// Every point that is not ok, with its reason; nothing where all are.
pub(super) fn reasons(run: &RunDir) -> Markup {
    let not_ok: Vec<_> = run.points.iter().filter(|p| p.status != Status::Ok).collect();
    html! {
        @if !not_ok.is_empty() { ul.reasons { @for p in not_ok { li {
            (status(p.status)) " " b { (number::count(p.clients_target)) " clients" }
            @if !p.variant.is_empty() { ", " (p.variant) }
            ", repetition " (p.repetition + 1)
            @if !p.reason.is_empty() { ": " (p.reason) }
        } } } }
    }
}

/// A percentile of one broadcast; one that is over the range of the histogram is said to be so (C17).
fn percentile(b: &BroadcastRow, ns: Option<u64>) -> String {
    if ns.is_none() && b.over_range > 0 { "> 60 s".to_owned() } else { duration(ns) }
}

/// Columns of the ledger.
const LEDGER: &[Column<BroadcastRow>] = &[
    ("expected", |b| number::count(b.expected)),
    ("received", |b| number::count(b.received)),
    ("missing", |b| number::count(b.missing)),
    ("duplicate", |b| number::count(b.duplicate)),
    ("out of order", |b| number::count(b.out_of_order)),
    ("sent late", |b| duration(b.sent_ns.and_then(|sent| sent.checked_sub(b.due_ns)))),
    ("first", |b| duration(b.first_ns.and_then(|first| first.checked_sub(b.due_ns)))),
    ("p50", |b| percentile(b, b.latency_p50_ns)),
    ("p90", |b| percentile(b, b.latency_p90_ns)),
    ("p99", |b| percentile(b, b.latency_p99_ns)),
    ("p99.9", |b| percentile(b, b.latency_p999_ns)),
    ("last", |b| duration(b.last_ns.and_then(|last| last.checked_sub(b.due_ns)))),
];

/// The ledger of every broadcast.
pub(super) fn broadcasts(run: &RunDir) -> Markup {
    let rows = match run.broadcasts() {
        Ok(rows) => rows,
        Err(e) => return unreadable(crate::draw::figure::Blank::from(e).reason()),
    };
    if rows.is_empty() {
        return html! { p { "The run sent no broadcast." } };
    }
    let clients = |b: &BroadcastRow| run.point(b.point, b.repetition).map(|p| p.clients_target);
    html! {
        details open[rows.len() <= 40] {
            summary { (rows.len()) " broadcasts; times run from when each was due" }
            div.scroll tabindex="0" { table {
                thead { tr {
                    th { "clients" } th { "repetition" } th { "sequence" }
                    @for (head, _) in LEDGER { th { (head) } }
                } }
                tbody { @for b in &rows { tr class=[(b.missing > 0).then_some("bad")] {
                    td { (count(clients(b))) } td { (b.repetition + 1) } td { (b.sequence) }
                    @for (_, cell) in LEDGER { td { (cell(b)) } }
                } } }
            } }
        }
    }
}

/// Failures by kind.
pub(super) fn errors(run: &RunDir) -> Markup {
    let rows: Vec<ErrorRow> = match run.errors() {
        Ok(rows) => rows,
        Err(e) => return unreadable(crate::draw::figure::Blank::from(e).reason()),
    };
    if rows.is_empty() {
        return html! { p { "None: no client failed or was lost, and the server counted no error." } };
    }
    // The server counts those too who leave when the run is over.
    let lost =
        |e: &ErrorRow| run.point(e.point, e.repetition).is_none_or(|p| p.dropped != Some(0) || p.joined != p.attempted);
    let after = |e: &ErrorRow| e.side == "server" && !lost(e);
    html! {
        div.scroll tabindex="0" { table {
            thead { tr {
                th { "clients" } th { "repetition" } th.text { "side" } th.text { "kind" } th.text { "code" } th { "count" }
                th.text { "meaning" }
            } }
            tbody { @for e in &rows { tr {
                td { (count(run.point(e.point, e.repetition).map(|p| p.clients_target))) }
                td { (e.repetition + 1) } td.text { (e.side) } td.text { code { (e.kind) } }
                td.text { (words::code(&e.kind, e.code)) } td { (number::count(e.count)) }
                td.text.long {
                    (words::kind(&e.side, &e.kind))
                    @if e.retried == Some(true) { " (came back or tried again)" }
                    @if after(e) { " *" }
                }
            } } }
        } }
        @if rows.iter().any(after) {
            p.note { "* No client of that measurement failed or was lost: these are clients that left when it was over." }
        }
    }
}

pub(super) fn unreadable(reason: &str) -> Markup {
    html! { p.bad { "Can't be shown: " (reason) } }
}
