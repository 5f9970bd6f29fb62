//! Every figure as a multiple of what bare sockets did on the same machine just before. Pure functions.

use c2m_schema::rows::{FloorRow, PointRow};
use c2m_schema::table::ReadError;
use maud::{Markup, html};

use super::tables::{or_dash, unreadable};
use crate::draw::number;
use crate::rundir::RunDir;

/// A figure of the run, and the floor's.
type Pair = Option<(f64, f64)>;

/// What is held against the floor.
struct Measure {
    /// Name, as the head of the column.
    name: &'static str,
    /// Both figures; none where one was not measured.
    pair: fn(&PointRow, &FloorRow) -> Pair,
    /// A figure for people.
    show: fn(f64) -> String,
}

const MEASURES: [Measure; 5] = [
    Measure {
        name: "broadcast to all",
        pair: |p, f| Some((p.last_delivery_p50_ns? as f64, f.to_all_p50_ns? as f64)),
        show: number::duration,
    },
    Measure { name: "arrivals per s", pair: |p, f| Some((p.arrival_per_s?, f.arrivals_per_s?)), show: rate },
    Measure {
        name: "arrivals per s, against connects alone",
        pair: |p, f| Some((p.arrival_per_s?, f.connects_per_s?)),
        show: rate,
    },
    Measure {
        name: "memory per client, all in",
        pair: |p, f| Some((p.all_in_bytes_per_client?, f.kernel_bytes_per_client?)),
        show: number::bytes,
    },
    Measure {
        name: "CPU per delivery, all in",
        pair: |p, f| {
            let cpu_ns = p.server_measure_cpu_ns? + p.agent_measure_cpu_ns?;
            let deliveries = p.deliveries_received.filter(|n| *n > 0)?;
            let connections = (f.clients > 0).then_some(f.clients)?;
            Some((cpu_ns as f64 / deliveries as f64, f.cpu_p50_ns? as f64 / connections as f64))
        },
        show: number::duration,
    },
];

fn rate(per_second: f64) -> String {
    number::count(per_second.max(0.0).round() as u64)
}

/// The section; nothing for a run that took no floor.
pub(super) fn section(run: &RunDir, floor: &Result<Vec<FloorRow>, ReadError>) -> Markup {
    let rows = match floor {
        Ok(rows) if rows.is_empty() => return html! {},
        Ok(rows) => rows,
        Err(e) => {
            let why = unreadable(crate::draw::figure::Blank::from(e).reason());
            return why;
        }
    };
    let beside: Vec<(&PointRow, &FloorRow)> =
        rows.iter().filter_map(|floor| Some((run.point(floor.point, floor.repetition)?, floor))).collect();
    let mut points: Vec<u32> = beside.iter().map(|(p, _)| p.point).collect();
    points.dedup();
    // Runs from before a figure was measured have no column for it.
    let is_there = |m: &&Measure| beside.iter().any(|(p, floor)| (m.pair)(p, floor).is_some());
    let measures: Vec<&Measure> = MEASURES.iter().filter(is_there).collect();
    html! {
        p { "Before each repetition as many bare TCP connections were made on the same machine, and messages of as many bytes \
            sent to all of them: no HTTP, no WebSocket, no JSON. The multiple holds on any machine, however noisy." }
        div.scroll tabindex="0" { table {
            thead {
                tr { th rowspan="2" { "clients" } th rowspan="2" { "repetition" }
                    @for m in &measures { th colspan="3" { (m.name) } } }
                tr { @for _ in &measures { th { "run" } th { "bare" } th { "multiple" } } }
            }
            tbody { @for point in points {
                @let of: Vec<_> = beside.iter().filter(|(p, _)| p.point == point).collect();
                @for (p, floor) in &of { tr {
                    td { b { (number::count(p.clients_target)) } @if !p.variant.is_empty() { ", " (p.variant) } }
                    td { (p.repetition + 1) }
                    @for m in &measures { @match (m.pair)(p, floor) {
                        Some((run, bare)) => { td { ((m.show)(run)) } td { ((m.show)(bare)) } td { (multiple(run / bare)) } }
                        None => { td { (or_dash(None)) } td { (or_dash(None)) } td { (or_dash(None)) } }
                    } }
                } }
                @if of.len() > 1 { tr {
                    td { b { (number::count(of[0].0.clients_target)) } } td { "median" }
                    @for m in &measures { td {} td {} td { b { (or_dash(median_multiple(m, &of).map(multiple))) } } }
                } }
            } }
        } }
        @for (p, floor) in beside.iter().filter(|(_, floor)| !floor.reason.is_empty()) {
            p.bad { (number::count(p.clients_target)) " clients, repetition " (p.repetition + 1)
                ": bare sockets could not be measured: " (floor.reason) }
        }
        p.note { "Times and CPU are of the median broadcast, first send to last delivery of bare sockets, due time to last \
            delivery of the run. Arrivals of the run are connected, upgraded and joined; bare ones are connected and \
            exchange as many bytes in as many messages. Bare sockets are as fast as they can be, where the run keeps to the \
            rate that its experiment asks for. CPU is of both ends. Memory of bare sockets is the kernel's alone." }
    }
}

/// The middle of the multiples of one point; of an even number the lower.
fn median_multiple(m: &Measure, of: &[&(&PointRow, &FloorRow)]) -> Option<f64> {
    let mut multiples: Vec<f64> = of.iter().filter_map(|(p, f)| (m.pair)(p, f)).map(|(run, bare)| run / bare).collect();
    multiples.sort_by(f64::total_cmp);
    multiples.get(multiples.len().checked_sub(1)? / 2).copied()
}

fn multiple(ratio: f64) -> String {
    format!("{ratio:.2}\u{a0}×")
}

/// The multiple of a broadcast to all; none where it was not measured.
pub(super) fn to_all(floor: &[FloorRow], p: &PointRow) -> Option<String> {
    multiples(floor, p).into_iter().find(|(name, _)| *name == MEASURES[0].name).map(|(_, multiple)| multiple)
}

/// Name and multiple of what was measured at a point, broadcasts first; empty where there is no floor beside it.
pub(super) fn multiples(floor: &[FloorRow], p: &PointRow) -> Vec<(&'static str, String)> {
    let Some(floor) = floor.iter().find(|f| (f.point, f.repetition) == (p.point, p.repetition)) else {
        return Vec::new();
    };
    let of = |m: &Measure| (m.pair)(p, floor).map(|(run, bare)| (m.name, multiple(run / bare)));
    MEASURES.iter().filter_map(of).collect()
}
