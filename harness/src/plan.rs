//! From a definition to the points that are run. Pure.

use std::fmt::Write as _;

use crate::experiment::{Counts, Experiment};
use crate::search;
use crate::text::count;

/// One point of the plan: a client count and a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Index in the plan, from 0.
    pub index: u32,
    /// Clients held.
    pub clients: u64,
    /// JSON payload of each broadcast.
    pub payload_bytes: u64,
    /// Nanoseconds between the due times of broadcasts.
    pub interval_ns: u64,
    /// What tells it from other points with the same count; empty when nothing does.
    pub variant: String,
}

/// Every point with the definition that holds for it: as written, or the bounds of a search.
pub fn planned(e: &Experiment) -> Vec<(Experiment, Point)> {
    match &e.search {
        Some(s) => {
            let bounds = if s.low == s.high { vec![s.low] } else { vec![s.low, s.high] };
            bounds.into_iter().zip(0..).map(|(value, index)| search::probe(e, s, value, index)).collect()
        }
        None => points(e).into_iter().map(|point| (e.clone(), point)).collect(),
    }
}

/// Counts × variants, in the order of the definition. Empty while the counts are still to be chosen.
pub fn points(e: &Experiment) -> Vec<Point> {
    let sizes = &e.broadcast.payload_bytes.0;
    let mut points = Vec::new();
    for &clients in e.clients.counts.list().unwrap_or_default() {
        for &payload_bytes in sizes {
            points.push(Point {
                index: points.len() as u32,
                clients,
                payload_bytes,
                interval_ns: e.broadcast.interval_ms.ns(clients),
                variant: if sizes.len() > 1 { format!("{payload_bytes} B") } else { String::new() },
            });
        }
    }
    points
}

/// What bounds automatically chosen counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Cores the processes may use, at least 1.
    pub cores: u32,
    /// Memory that can be had without swapping, within the control group's limit.
    pub memory_available_bytes: u64,
    /// Clients for which descriptors, ports and threads suffice.
    pub clients_by_limits: u64,
}

/// User and kernel memory of one client, both ends: 8,263 B as measured at two million, and 4 % to spare.
pub const ALL_IN_BYTES_PER_CLIENT: u64 = 8_600;
const CLIENTS_PER_CORE: u64 = 100_000;
const CLIENTS_MAX: u64 = 400_000;
/// Part of the available memory that automatic counts may ask for.
const MEMORY_SHARE_PERCENT: u64 = 60;

/// Counts that fit: an eighth, a quarter, half and the whole of the largest, rounded down to two significant digits.
pub fn auto_counts(room: Room) -> Vec<u64> {
    let by_memory = room.memory_available_bytes / 100 * MEMORY_SHARE_PERCENT / ALL_IN_BYTES_PER_CLIENT;
    let by_cores = CLIENTS_PER_CORE * u64::from(room.cores.max(1));
    let largest = by_cores.min(CLIENTS_MAX).min(by_memory).min(room.clients_by_limits).max(1);
    let mut counts: Vec<u64> = [8, 4, 2, 1].iter().map(|part| two_digits(largest / part)).filter(|&n| n > 0).collect();
    counts.dedup();
    counts
}

/// Replaces `"auto"` by counts that fit `room`.
pub fn resolve(e: &mut Experiment, room: Room) {
    if e.clients.counts == Counts::Auto {
        let least = u64::from(e.agents.count).max(e.clients.observers + 1);
        let mut counts = auto_counts(room);
        for n in &mut counts {
            *n = (*n).max(least);
        }
        counts.dedup();
        e.clients.counts = Counts::List(counts);
    }
}

/// `n` rounded down to two significant digits.
pub fn two_digits(n: u64) -> u64 {
    let unit = 10u64.pow(n.checked_ilog10().unwrap_or(0).saturating_sub(1));
    n / unit * unit
}

/// The plan as text for people, one line a point.
pub fn list(e: &Experiment) -> String {
    let mut text = format!("{}: {}\n", e.name, e.question);
    if let Some(s) = &e.search {
        let _ = writeln!(text, "{}; first and last:", search::describe(s));
    }
    for (e, point) in planned(e) {
        let repetitions = e.measure.repetitions_of(point.clients);
        let variant = if point.variant.is_empty() { String::new() } else { format!(", {}", point.variant) };
        let _ = writeln!(
            text,
            "point {}: {} clients{variant}, ramp {:.0} s, {} broadcasts of {} B every {:.1} s, {} repetition{}",
            point.index,
            count(point.clients),
            e.arrival.seconds_for(point.clients),
            e.broadcast.count,
            point.payload_bytes,
            point.interval_ns as f64 / 1e9,
            repetitions,
            if repetitions == 1 { "" } else { "s" },
        );
    }
    text
}
