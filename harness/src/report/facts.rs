//! What a run says in a sentence: its verdict, and the headline figures of its largest point. Pure functions.

use c2m_schema::rows::{FloorRow, PointRow, Status};

use super::floor;
use super::what::counted;
use crate::draw::number;
use crate::rundir::{RunDir, status_name};
use crate::search::explained;

/// How a fact is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Neither, or unknown.
    Plain,
}

impl Tone {
    /// Class of the element that shows it.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// One headline figure.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// What it is.
    pub(super) name: &'static str,
    /// The figure.
    pub(super) value: String,
    /// What the figure leaves out.
    pub(super) detail: String,
    /// How to take it.
    pub(super) tone: Tone,
}

/// The verdict over all points, and how to take it.
pub(super) fn verdict(run: &RunDir) -> (String, Tone) {
    let total = run.points.len();
    let of = |status: Status| run.points.iter().filter(|p| p.status == status).count();
    if total == 0 {
        return ("The run ended before its first measurement.".to_owned(), Tone::Bad);
    }
    if let Some(search) = run.record.as_ref().and_then(|r| r.search.as_ref()) {
        let tone = match (search.found, search.complete) {
            (Some(_), true) => Tone::Good,
            (Some(_), false) => Tone::Plain,
            (None, _) => Tone::Bad,
        };
        let tried = if total == 1 { "One measurement was".to_owned() } else { format!("{total} measurements were") };
        return (format!("{} {tried} made.", explained(search, &run.points)), tone);
    }
    let ok = of(Status::Ok);
    if ok == total {
        let all = match total {
            1 => "The measurement".to_owned(),
            2 => "Both measurements".to_owned(),
            _ => format!("All {total} measurements"),
        };
        return (format!("{all} met what the experiment expects."), Tone::Good);
    }
    let rest = [Status::Failed, Status::Partial, Status::Interrupted, Status::Skipped];
    let parts: Vec<_> = rest
        .into_iter()
        .map(|s| (of(s), s))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{n} {}", status_name(s)))
        .collect();
    let tone = if of(Status::Skipped) == total - ok && ok > 0 { Tone::Plain } else { Tone::Bad };
    (format!("{ok} of {total} measurements met what the experiment expects; {}.", parts.join(", ")), tone)
}

/// The measurement that the headline is of: of a search the value found; otherwise most clients held, of equal ones the
/// best status, then the first.
pub(super) fn largest(run: &RunDir) -> Option<&PointRow> {
    if let Some(search) = run.record.as_ref().and_then(|r| r.search.as_ref()) {
        let found = search.probes.iter().rfind(|p| p.met && Some(p.value) == search.found);
        return found.and_then(|probe| run.points.iter().find(|p| p.point == probe.point));
    }
    let rank = |p: &&PointRow| (p.live_at_end.or(p.joined), u8::from(p.status == Status::Ok));
    run.points.iter().rev().filter(|p| p.attempted.is_some()).max_by_key(rank)
}

/// The headline figures of one measurement.
pub(super) fn headline(run: &RunDir, floor: &[FloorRow], p: &PointRow) -> Vec<Fact> {
    let facts = [held(p), delivered(p), broadcast(run, p), memory(run, p), against(floor, p), generator(p)];
    facts.into_iter().flatten().collect()
}

/// From where to where a figure goes over the repetitions of the point; nothing where there is one of them.
fn over_repetitions(run: &RunDir, p: &PointRow, of: fn(&PointRow) -> Option<f64>, show: fn(f64) -> String) -> String {
    let mut values: Vec<f64> = run.points.iter().filter(|q| q.point == p.point).filter_map(of).collect();
    values.sort_by(f64::total_cmp);
    match values[..] {
        [least, .., most] => format!("; {} to {} over {} repetitions", show(least), show(most), values.len()),
        _ => String::new(),
    }
}

/// The time of a broadcast as a multiple of that of bare sockets, and the other multiples.
fn against(floor: &[FloorRow], p: &PointRow) -> Option<Fact> {
    let mut multiples = floor::multiples(floor, p).into_iter();
    let (name, value) = multiples.next()?;
    let others: Vec<_> = multiples.map(|(name, value)| format!("{name} {value}")).collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    Some(Fact {
        name: "Against bare sockets",
        value,
        detail: format!("{name}, where 1 is what as many plain TCP sockets do on this machine{others}"),
        tone: Tone::Plain,
    })
}

fn held(p: &PointRow) -> Option<Fact> {
    let live = p.live_at_end.or(p.joined)?;
    let dropped = p.dropped.filter(|n| *n > 0).map(|n| format!(", {} lost", number::count(n))).unwrap_or_default();
    let detail = match p.clients_target.checked_sub(live) {
        Some(0) => format!("of {} clients: all{dropped}", number::count(p.clients_target)),
        _ => format!("of {} clients{dropped}", number::count(p.clients_target)),
    };
    let tone = if live >= p.clients_target && p.dropped.unwrap_or(0) == 0 { Tone::Good } else { Tone::Bad };
    Some(Fact { name: "Held", value: number::count(live), detail, tone })
}

fn delivered(p: &PointRow) -> Option<Fact> {
    let (expected, received) = (p.deliveries_expected?, p.deliveries_received?);
    if expected == 0 {
        return None;
    }
    let count = |n: Option<u64>, word: &str| n.filter(|n| *n > 0).map(|n| format!("{} {word}", number::count(n)));
    let faults: Vec<_> = [
        count(p.deliveries_missing, "missing"),
        count(p.deliveries_duplicate, "duplicate"),
        count(p.deliveries_out_of_order, "out of order"),
        count(p.observed_mismatch, "altered"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let broadcasts = p.broadcasts.map(|n| format!(" in {}", counted(n, "broadcast"))).unwrap_or_default();
    let (faults, tone) = if faults.is_empty() {
        ("none missing, duplicate or out of order".to_owned(), Tone::Good)
    } else {
        (faults.join(", "), Tone::Bad)
    };
    let value = number::percent(received as f64 / expected as f64);
    let detail = format!("{} of {} deliveries{broadcasts}; {faults}", number::count(received), number::count(expected));
    Some(Fact { name: "Delivered", value, detail, tone })
}

fn broadcast(run: &RunDir, p: &PointRow) -> Option<Fact> {
    let median = p.last_delivery_p50_ns?;
    let whom = if p.deliveries_missing == Some(0) { "to everyone" } else { "to the last one reached" };
    let most =
        p.last_delivery_max_ns.map(|ns| format!(", at most {}", number::duration(ns as f64))).unwrap_or_default();
    let value = number::duration(median as f64);
    let repeated = over_repetitions(run, p, |p| p.last_delivery_p50_ns.map(|ns| ns as f64), number::duration);
    let detail = format!("from due {whom}, median{most}{repeated}");
    Some(Fact { name: "Broadcast", value, detail, tone: Tone::Plain })
}

fn memory(run: &RunDir, p: &PointRow) -> Option<Fact> {
    let parts = [
        ("server", p.server_user_bytes_per_client),
        ("load agents", p.agent_user_bytes_per_client),
        ("kernel", p.kernel_bytes_per_client),
    ];
    let text = |(name, bytes): (&str, Option<f64>)| Some(format!("{name} {}", number::bytes(bytes?)));
    let repeated = over_repetitions(run, p, |p| p.all_in_bytes_per_client, number::bytes);
    let detail = parts.into_iter().filter_map(text).collect::<Vec<_>>().join(", ") + &repeated;
    let value = p.all_in_bytes_per_client.or(p.server_user_bytes_per_client)?;
    let name = if p.all_in_bytes_per_client.is_some() { "Memory per client" } else { "Server memory per client" };
    Some(Fact { name, value: number::bytes(value), detail, tone: Tone::Plain })
}

fn generator(p: &PointRow) -> Option<Fact> {
    let saturated = p.loadgen_saturated?;
    let lag = |ns: Option<u64>, word: &str| Some(format!("{word} at most {} late", number::duration(ns? as f64)));
    let lags: Vec<_> = [lag(p.arrival_lag_max_ns, "arrivals"), lag(p.publish_lag_max_ns, "broadcasts")]
        .into_iter()
        .flatten()
        .collect();
    let (value, text, tone) = if saturated {
        ("saturated", "could not keep its schedule: read latencies as an upper bound", Tone::Bad)
    } else {
        ("kept up", "was on schedule", Tone::Good)
    };
    let detail = [vec![text.to_owned()], lags].concat().join("; ");
    Some(Fact { name: "Load generator", value: value.to_owned(), detail, tone })
}
