//! Chart 5, broadcast: on the left the share of clients reached against time since due, on the right latency percentiles
//! of each broadcast.

use std::collections::BTreeMap;

use c2m_schema::rows::{BroadcastRow, LatencyRow};

use super::series;
use crate::draw::canvas::{Anchor, Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::labels::spread;
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, AXIS_SIZE, Axis, EndLabel, Panel, fit};
use crate::draw::scale::{Kind, Scale, range};
use crate::draw::thin;
use crate::rundir::RunDir;

/// Title.
pub(super) const TITLE: &str = "A message to everyone";

const UNITS: &str = "seconds from when the message was due, so a late publisher counts, to each client that got it";

/// Widest name of a point: a variant may be of any length.
const NAME_WIDTH: f64 = 220.0;

/// A percentile: name, colour, nanoseconds out of a row.
type Percentile = (&'static str, Color, fn(&BroadcastRow) -> Option<u64>);

const PERCENTILES: [Percentile; 5] = [
    ("max", palette::INK, |b| b.latency_max_ns),
    ("p99.9", palette::VERMILION, |b| b.latency_p999_ns),
    ("p99", palette::ORANGE, |b| b.latency_p99_ns),
    ("p90", palette::GREEN, |b| b.latency_p90_ns),
    ("p50", palette::BLUE, |b| b.latency_p50_ns),
];

/// One broadcast: the ledger's row, and when which share was reached.
pub(super) struct Broadcast<'a> {
    pub(super) row: &'a BroadcastRow,
    /// Nanoseconds since due, and share of the clients reached.
    pub(super) curve: Vec<(f64, f64)>,
}

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let rows = run.broadcasts()?;
    if rows.is_empty() {
        return Err(Blank::Empty("the run sent no broadcast".to_owned()));
    }
    let latency = run.latency()?;
    let broadcasts = join(&rows, &latency);
    let mut canvas = Canvas::default();
    curves(&mut canvas, run, &broadcasts);
    percentiles(&mut canvas, run, &broadcasts);
    let mut notes = Vec::new();
    let without = broadcasts.iter().filter(|b| b.curve.is_empty()).count();
    if without > 0 {
        notes.push(format!("{without} broadcasts have no delivery in latency.csv"));
    }
    let over: u64 = rows.iter().map(|b| b.over_range).fold(0, u64::saturating_add);
    if over > 0 {
        notes.push(format!("{} deliveries took more than 60 s", number::count(over)));
    }
    Ok(Figure { title: TITLE.to_owned(), subtitle: subtitle(&rows), legend: Vec::new(), units: UNITS, notes, canvas })
}

/// The broadcasts in order, each with its curve.
pub(super) fn join<'a>(rows: &'a [BroadcastRow], latency: &[LatencyRow]) -> Vec<Broadcast<'a>> {
    let mut buckets: BTreeMap<(u32, u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
    for row in latency.iter().filter(|r| r.metric == "delivery") {
        if let Some(sequence) = row.sequence {
            buckets.entry((row.point, row.repetition, sequence)).or_default().push((row.bucket_high_ns, row.count));
        }
    }
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|b| (b.point, b.repetition, b.sequence));
    rows.into_iter()
        .map(|row| {
            let own = buckets.remove(&(row.point, row.repetition, row.sequence)).unwrap_or_default();
            Broadcast { row, curve: curve(own, row.expected) }
        })
        .collect()
}

/// Nanoseconds since due and share of the expected clients reached by then.
fn curve(mut buckets: Vec<(u64, u64)>, expected: u64) -> Vec<(f64, f64)> {
    buckets.sort_unstable();
    let received = buckets.iter().map(|b| b.1).fold(0, u64::saturating_add);
    // A late joiner may be received by more than were expected; then all of them are the whole.
    let whole = expected.max(received).max(1) as f64;
    let mut reached = 0u64;
    buckets
        .into_iter()
        .map(|(ns, count)| {
            reached = reached.saturating_add(count);
            (ns as f64, reached as f64 / whole)
        })
        .collect()
}

/// Points in order of clients, each with what its label says.
fn points(run: &RunDir, broadcasts: &[Broadcast<'_>]) -> Vec<(u32, String)> {
    let mut points: BTreeMap<u32, u64> = BTreeMap::new();
    for broadcast in broadcasts {
        let most = points.entry(broadcast.row.point).or_default();
        *most = (*most).max(broadcast.row.expected);
    }
    let mut out: Vec<_> = points.into_iter().collect();
    out.sort_by_key(|(point, clients)| (*clients, *point));
    let variant = |point: u32| run.points.iter().find(|p| p.point == point).map_or("", |p| p.variant.as_str());
    out.into_iter()
        .map(|(point, clients)| {
            let name = format!("{} {}", number::short(clients as f64), variant(point));
            (point, fit(name.trim(), Type::new(AXIS_SIZE, palette::INK).bold(), NAME_WIDTH))
        })
        .collect()
}

fn curves(canvas: &mut Canvas, run: &RunDir, broadcasts: &[Broadcast<'_>]) {
    let plot = Rect { x0: 104.0, y0: BODY.y0 + 64.0, x1: 606.0, y1: BODY.y1 - AXIS_ROOM };
    let times = || broadcasts.iter().flat_map(|b| b.curve.iter().map(|p| p.0)).filter(|ns| *ns > 0.0);
    let Some((min, max)) = range(times()) else {
        let style = Type::new(22.0, palette::MUTED).anchor(Anchor::Middle);
        canvas.text("latency.csv has no delivery", (f64::midpoint(plot.x0, plot.x1), 380.0), style);
        return;
    };
    // What is before a hundredth of the clients is reached would be most of a logarithmic axis.
    let risen = broadcasts.iter().filter_map(|b| b.curve.iter().find(|p| p.1 >= 0.01)).map(|p| p.0);
    let min = risen.filter(|ns| *ns > 0.0).fold(max, f64::min).max(min);
    let x = if max / min > 30.0 { Scale::log(min, max) } else { Scale::linear_tight(0.0, max, 5) };
    let panel = Panel { title_lift: 52.0, ..Panel::new(plot, x, Scale::linear(0.0, 1.0, 5)) };
    let time = Axis { title: "time since the message was due", format: &number::duration };
    let share = |v: f64| format!("{:.0} %", v * 100.0);
    panel.axes(canvas, Some(&time), &Axis { title: "clients reached, by clients joined", format: &share });
    let points = points(run, broadcasts);
    for (index, (point, _)) in points.iter().enumerate() {
        let color = palette::ordered(index, points.len());
        for broadcast in broadcasts.iter().filter(|b| b.row.point == *point && !b.curve.is_empty()) {
            let start = if panel.x.kind == Kind::Linear { Some((0.0, 0.0)) } else { None };
            let first = broadcast.curve.first().map(|p| (p.0, 0.0));
            let all = start.into_iter().chain(first).chain(broadcast.curve.iter().copied());
            let pixels: Vec<_> = all.filter_map(|(ns, share)| panel.at(ns, share)).collect();
            canvas.path_alpha(thin::per_pixel(pixels), color, 2.0, 0.8);
            for (ns, share) in &broadcast.curve {
                let Some(at) = panel.at(*ns, *share) else { continue };
                let text = || {
                    format!(
                        "{} reached in {}\n{}",
                        number::percent(*share),
                        number::duration(*ns),
                        which(broadcast.row)
                    )
                };
                canvas.spot(at, text);
            }
        }
    }
    top_labels(canvas, &panel, &points, broadcasts);
}

/// The clients of each point above the area, over the end of its curves.
fn top_labels(canvas: &mut Canvas, panel: &Panel, points: &[(u32, String)], broadcasts: &[Broadcast<'_>]) {
    let end = |point: u32| {
        let own = || broadcasts.iter().filter(|b| b.row.point == point).filter_map(|b| b.curve.last());
        let ns = series::median(own().map(|p| p.0).collect())?;
        panel.at(ns, series::median(own().map(|p| p.1).collect())?)
    };
    let style = Type::new(AXIS_SIZE, palette::INK).bold().anchor(Anchor::Middle);
    let ends: Vec<_> =
        points.iter().enumerate().filter_map(|(i, (point, name))| Some((i, name, end(*point)?))).collect();
    let widest = ends.iter().map(|(_, name, _)| style.width(name)).fold(0.0, f64::max);
    // Where not all fit, every second or third is left out, never the largest.
    let (gap, room) = (widest + 12.0, panel.plot.width() - 10.0 - widest / 2.0);
    let stride = ((gap * ends.len() as f64) / room).ceil().max(1.0) as usize;
    let ends: Vec<_> = ends.into_iter().rev().step_by(stride).collect();
    let wanted: Vec<f64> = ends.iter().map(|(.., at)| at.0).collect();
    let places = spread(&wanted, gap, panel.plot.x0 + 10.0, panel.plot.x1 - widest / 2.0);
    let y = panel.plot.y0 - 12.0;
    for ((index, name, at), place) in ends.into_iter().zip(places) {
        let color = palette::text(palette::ordered(index, points.len()));
        canvas.path(vec![(place, y + 10.0), at], palette::mix(color, palette::PAPER, 0.5), 1.0);
        canvas.text(name, (place, y), Type { color, ..style });
    }
}

fn percentiles(canvas: &mut Canvas, run: &RunDir, broadcasts: &[Broadcast<'_>]) {
    let plot = Rect { x0: 744.0, y0: BODY.y0 + 64.0, x1: BODY.x1 - 98.0, y1: BODY.y1 - AXIS_ROOM };
    let values =
        || broadcasts.iter().flat_map(|b| PERCENTILES.iter().filter_map(|(.., of)| of(b.row))).map(|ns| ns as f64);
    let Some((min, max)) = range(values().filter(|ns| *ns > 0.0)) else { return };
    let y = if max / min > 12.0 { Scale::log(min, max) } else { Scale::linear(0.0, max, 6) };
    // A place for each broadcast, and an empty one between repetitions.
    let mut slots = Vec::new();
    let mut slot = 0.0;
    let mut previous = None;
    for broadcast in broadcasts {
        let group = (broadcast.row.point, broadcast.row.repetition);
        slot += if previous.is_some_and(|p| p != group) { 2.0 } else { 1.0 };
        previous = Some(group);
        slots.push(slot);
    }
    let panel = Panel { title_lift: 52.0, ..Panel::new(plot, Scale::exact(0.0, slot + 1.0), y) };
    panel.axes(canvas, None, &Axis { title: "latency of each broadcast", format: &number::duration });
    let step = plot.width() / (slot + 1.0);
    let groups: Vec<Vec<(f64, &BroadcastRow)>> = broadcasts
        .iter()
        .zip(&slots)
        .map(|(b, s)| (*s, b.row))
        .collect::<Vec<_>>()
        .chunk_by(|a, b| (a.1.point, a.1.repetition) == (b.1.point, b.1.repetition))
        .map(<[_]>::to_vec)
        .collect();
    let mut ends = Vec::new();
    for (name, color, of) in &PERCENTILES {
        let mut last = None;
        for group in &groups {
            let pixels: Vec<_> = group.iter().filter_map(|(s, b)| panel.at(*s, of(b)? as f64)).collect();
            last = pixels.last().copied().or(last);
            if step >= 5.0 || pixels.len() == 1 {
                for at in &pixels {
                    canvas.dot(*at, (step * 0.3).clamp(2.5, 5.0), *color);
                }
            }
            for (slot, row) in group {
                let Some((ns, at)) = of(row).and_then(|ns| Some((ns, panel.at(*slot, ns as f64)?))) else { continue };
                canvas.spot(at, || format!("{name}: {}\n{}", number::duration(ns as f64), which(row)));
            }
            canvas.path(thin::per_pixel(pixels), *color, 1.5);
        }
        ends.extend(last.map(|at| EndLabel { text: (*name).to_owned(), at, color: *color, bold: true }));
    }
    panel.end_labels(canvas, &ends, AXIS_SIZE);
    group_labels(canvas, run, broadcasts, &slots, &panel);
}

/// Which broadcast it is, in words.
fn which(b: &BroadcastRow) -> String {
    let room = b.room.map(|room| format!(", room {room}")).unwrap_or_default();
    let expected = number::count(b.expected);
    format!("broadcast {} to {expected} clients{room}\nrepetition {}", b.sequence + 1, b.repetition + 1)
}

/// Under the axis, the clients of each point. Where not all fit, every second or third is left out, never the last.
fn group_labels(canvas: &mut Canvas, run: &RunDir, broadcasts: &[Broadcast<'_>], slots: &[f64], panel: &Panel) {
    let style = Type::new(AXIS_SIZE, palette::MUTED).anchor(Anchor::Middle);
    let mut spans: Vec<(u32, f64, f64)> = Vec::new();
    for (broadcast, slot) in broadcasts.iter().zip(slots) {
        match spans.last_mut() {
            Some((point, _, last)) if *point == broadcast.row.point => *last = *slot,
            _ => spans.push((broadcast.row.point, *slot, *slot)),
        }
    }
    let names: BTreeMap<u32, String> = points(run, broadcasts).into_iter().collect();
    for (_, first, _) in spans.iter().filter(|s| s.1 > 1.0) {
        let edge = panel.x.pixel(first - 1.0);
        canvas.line((edge, panel.plot.y0), (edge, panel.plot.y1), palette::GRID, 1.5);
    }
    let named = spans.iter().filter_map(|(point, first, last)| {
        Some((names.get(point)?, f64::midpoint(panel.x.pixel(*first), panel.x.pixel(*last))))
    });
    let named: Vec<_> = named.collect();
    let gap = named.iter().map(|(name, _)| style.width(name)).fold(0.0, f64::max) + 10.0;
    let stride = (gap * named.len() as f64 / (panel.plot.width() + gap)).ceil().max(1.0) as usize;
    let named: Vec<_> = named.into_iter().rev().step_by(stride).collect();
    let wanted: Vec<f64> = named.iter().map(|n| n.1).collect();
    let places = spread(&wanted, gap, panel.plot.x0 + 10.0, panel.plot.x1 + 10.0);
    for ((name, _), place) in named.into_iter().zip(places) {
        canvas.text(name, (place, panel.plot.y1 + 20.0), style);
    }
    let middle = f64::midpoint(panel.plot.x0, panel.plot.x1);
    canvas.text("broadcasts in order, by clients", (middle, panel.plot.y1 + 50.0), style);
}

fn subtitle(rows: &[BroadcastRow]) -> String {
    let sum = |of: fn(&BroadcastRow) -> u64| rows.iter().map(of).fold(0, u64::saturating_add);
    let (expected, received, missing) = (sum(|b| b.expected), sum(|b| b.received), sum(|b| b.missing));
    let most = rows.iter().max_by_key(|b| (b.expected, b.received));
    let time = |b: &BroadcastRow| b.last_ns.and_then(|last| last.checked_sub(b.due_ns)).map(|ns| ns as f64);
    let largest = rows.iter().filter(|b| most.is_some_and(|m| m.point == b.point)).filter_map(time).collect();
    let all = match (series::median(largest), most) {
        (Some(ns), Some(most)) if missing == 0 => {
            format!(" · {} reached in {}, median", number::short(most.expected as f64), number::duration(ns))
        }
        _ => String::new(),
    };
    let missing = if missing == 0 { "none missing".to_owned() } else { format!("{} missing", number::count(missing)) };
    format!("{} of {} deliveries, {missing}{all}", number::count(received), number::count(expected))
}
