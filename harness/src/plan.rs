//! From a definition to the points that are run. Pure.

use std::fmt::Write as _;

use c2m_schema::rooms::{RoomPlan, Rooms, Sizes};

use crate::experiment::{Carrier, Counts, Experiment};
use crate::search;
use crate::text::count;

/// One point of the plan: a client count and a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Index in the plan, from 0.
    pub index: u32,
    /// Clients held.
    pub clients: u64,
    /// What carries them.
    pub carrier: Carrier,
    /// JSON payload of each broadcast.
    pub payload_bytes: u64,
    /// Nanoseconds between the due times of broadcasts.
    pub interval_ns: u64,
    /// What tells it from other points with the same count; empty when nothing does.
    pub variant: String,
    /// Rooms over which the clients are spread, and their sizes; none: all are in one topic.
    pub rooms: Option<(u32, Sizes)>,
    /// Clients that read slowly or never; none: there are no such clients in the experiment.
    pub slow_clients: Option<u64>,
}

impl Point {
    /// The rooms as the agent of this number is told of them.
    pub fn room_plan(&self, e: &Experiment, agent: u64) -> Option<RoomPlan> {
        let (count, sizes) = self.rooms?;
        let (clients, observers, agents) = (self.clients, e.clients.observers, u64::from(e.agents.count.max(1)));
        Some(RoomPlan { count, sizes, clients, observers, agents, agent })
    }
}

/// Clients of `clients` that are slow: one at least where the share is not 0.
pub fn slow_clients(clients: u64, share: f64) -> u64 {
    ((clients as f64 * share).round() as u64).max(u64::from(share > 0.0))
}

/// What an experiment varies beside the number of clients.
#[derive(Clone)]
struct Variant {
    carrier: Carrier,
    /// Whether the carrier is told, as there are several.
    carriers_vary: bool,
    rooms: Option<(u32, Sizes)>,
    slow_share: Option<f64>,
}

impl Variant {
    fn all(e: &Experiment) -> Vec<Self> {
        let rooms: Vec<Option<(u32, Sizes)>> = match &e.clients.rooms {
            None => vec![None],
            // One room has one size.
            Some(rooms) => {
                let sizes = |count| if count == 1 { &rooms.sizes.0[..1] } else { &rooms.sizes.0[..] };
                let of_count = |&count: &u32| sizes(count).iter().map(move |&sizes| Some((count, sizes)));
                rooms.count.0.iter().flat_map(of_count).collect()
            }
        };
        let shares: Vec<Option<f64>> = match &e.clients.slow {
            None => vec![None],
            Some(slow) => slow.share.0.iter().copied().map(Some).collect(),
        };
        let carriers = &e.server.engine.0;
        let carriers_vary = carriers.len() > 1;
        let mut variants = Vec::new();
        for &rooms in &rooms {
            for &slow_share in &shares {
                // Innermost, so that what is to be compared is measured one after the other.
                let variant = |carrier: &Carrier| Self { carrier: carrier.clone(), carriers_vary, rooms, slow_share };
                variants.extend(carriers.iter().map(variant));
            }
        }
        variants
    }

    fn name(&self, slow_clients: Option<u64>) -> Vec<String> {
        let rooms = self.rooms.map(|(rooms, sizes)| match rooms {
            1 => "1 room".to_owned(),
            _ => format!("{rooms} rooms {}", sizes.name()),
        });
        let slow = slow_clients.map(|n| format!("{n} slow"));
        let carrier = self.carriers_vary.then(|| self.carrier.to_string());
        carrier.into_iter().chain(rooms).chain(slow).collect()
    }
}

/// The definition as it is where one of the carriers is the only one.
fn alone(e: &Experiment, carrier: &Carrier) -> Experiment {
    Experiment { server: e.server.only(carrier), ..e.clone() }
}

/// The definition with each of the carriers alone.
pub fn alternatives(e: &Experiment) -> impl Iterator<Item = Experiment> {
    e.server.engine.0.iter().map(|carrier| alone(e, carrier))
}

/// Every point with the definition that holds for it: as written with one carrier, or the bounds of a search.
pub fn planned(e: &Experiment) -> Vec<(Experiment, Point)> {
    match &e.search {
        Some(s) => {
            let bounds = if s.low == s.high { vec![s.low] } else { vec![s.low, s.high] };
            bounds.into_iter().zip(0..).map(|(value, index)| search::probe(e, s, value, index)).collect()
        }
        None => points(e).into_iter().map(|point| (alone(e, &point.carrier), point)).collect(),
    }
}

/// Counts × variants, in the order of the definition. Empty while the counts are still to be chosen.
pub fn points(e: &Experiment) -> Vec<Point> {
    let sizes = &e.broadcast.payload_bytes.0;
    let variants = Variant::all(e);
    let varied = variants.len() > 1;
    let mut points = Vec::new();
    for &clients in e.clients.counts.list().unwrap_or_default() {
        for (variant, &payload_bytes) in variants.iter().flat_map(|v| sizes.iter().map(move |size| (v, size))) {
            let slow_clients = variant.slow_share.map(|share| slow_clients(clients, share));
            let mut names = if varied { variant.name(slow_clients) } else { Vec::new() };
            names.extend((sizes.len() > 1).then(|| format!("{payload_bytes} B")));
            let mut point = Point {
                index: points.len() as u32,
                clients,
                carrier: variant.carrier.clone(),
                payload_bytes,
                interval_ns: 0,
                variant: names.join(", "),
                rooms: variant.rooms,
                slow_clients,
            };
            // A broadcast takes as long as its room is large.
            let largest = point.room_plan(e, 0).map_or(clients, |plan| Rooms::new(plan).largest());
            point.interval_ns = e.broadcast.interval_ms.ns(largest);
            points.push(point);
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
/// Topics that begin so show who is there.
const PRESENCE_PREFIX: &str = "presence:";
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
        if let Some(messages) = presence_messages(&e, point.clients) {
            let _ = writeln!(text, "  {}", presence_note(point.clients, messages));
        }
    }
    text
}

/// Messages of presence that it takes until `clients` have gathered, each telling all who are there of one that came; none
/// where rooms show no presence.
pub fn presence_messages(e: &Experiment, clients: u64) -> Option<u64> {
    let is_shown = e.clients.rooms.is_none() && e.clients.topic.starts_with(PRESENCE_PREFIX);
    is_shown.then(|| clients.saturating_mul(clients.saturating_add(1)) / 2)
}

/// Says what presence will cost.
pub fn presence_note(clients: u64, messages: u64) -> String {
    format!("presence is on: about {} messages (n²/2) until {} clients have gathered", count(messages), count(clients))
}
