//! One broadcast over all agents, and all broadcasts of a repetition. Pure.

use std::collections::BTreeMap;

use c2m_schema::control::BroadcastLedger;
use c2m_schema::histogram::Recorder;
use c2m_schema::rooms::Rooms;
use c2m_schema::rows::{BroadcastRow, PointRow};

use crate::fleet::clock::Offset;
use crate::plan::Point;
use crate::run::raw::Raw;
use crate::view::state::Reached;

/// The ledgers of one broadcast, added up.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    pub sequence: u32,
    pub due_ns: u64,
    pub sent_ns: Option<u64>,
    replied_ns: Option<u64>,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    expected: u64,
    received: u64,
    duplicate: u64,
    out_of_order: u64,
    unexpected: u64,
    lost_by_drop: u64,
    lost_away: u64,
    sender_away: bool,
    pub from_due: Recorder,
    pub from_sent: Recorder,
    /// Agents that gave an account of it.
    agents: usize,
}

/// Adds up the ledgers of all agents, in the order of sequences.
pub(super) fn merge(raw: &Raw) -> Vec<Merged> {
    let mut merged: BTreeMap<u32, Merged> = BTreeMap::new();
    for ledger in raw.agents.iter().flat_map(|a| a.ledgers.values()) {
        merged.entry(ledger.sequence).or_insert_with(|| Merged::empty(ledger)).add(ledger);
    }
    merged.into_values().collect()
}

/// How far one broadcast came, by what its agents have said so far; none when none has.
pub(crate) fn reached(raw: &Raw, sequence: u32) -> Option<Reached> {
    let mut ledgers = raw.agents.iter().filter_map(|a| a.ledgers.get(&sequence)).peekable();
    let mut merged = Merged::empty(ledgers.peek()?);
    ledgers.for_each(|ledger| merged.add(ledger));
    let (expected, received, last_ns) = (merged.expected, merged.received, merged.last_after_ns());
    Some(Reached { sequence, expected, received, p99_ns: merged.from_due.quantile_ns(0.99), last_ns })
}

impl Merged {
    fn empty(ledger: &BroadcastLedger) -> Self {
        Self {
            sequence: ledger.sequence,
            due_ns: ledger.due_ns,
            sent_ns: None,
            replied_ns: None,
            first_ns: None,
            last_ns: None,
            expected: 0,
            received: 0,
            duplicate: 0,
            out_of_order: 0,
            unexpected: 0,
            lost_by_drop: 0,
            lost_away: 0,
            sender_away: false,
            from_due: Recorder::new(),
            from_sent: Recorder::new(),
            agents: 0,
        }
    }

    fn add(&mut self, l: &BroadcastLedger) {
        self.agents += 1;
        self.sent_ns = self.sent_ns.or(l.sent_ns);
        self.replied_ns = self.replied_ns.or(l.replied_ns);
        self.first_ns = [self.first_ns, l.first_ns].into_iter().flatten().min();
        self.last_ns = [self.last_ns, l.last_ns].into_iter().flatten().max();
        self.expected += l.expected;
        self.received += l.received;
        self.duplicate += l.duplicate;
        self.out_of_order += l.out_of_order;
        self.unexpected += l.unexpected;
        self.lost_by_drop += l.lost_by_drop;
        self.lost_away += l.lost_away;
        self.sender_away |= l.sender_away;
        // A histogram that can't be read was refused when its line came.
        if let (Ok(due), Ok(sent)) = (l.from_due.to_recorder(), l.from_sent.to_recorder()) {
            self.from_due.merge(&due);
            self.from_sent.merge(&sent);
        }
    }

    fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// Copies missing because a client was away: the receiver, or the sender and then all of them.
    pub(super) fn lost_away(&self) -> u64 {
        if self.sender_away { self.missing().saturating_sub(self.lost_by_drop) } else { self.lost_away }
    }

    /// Due time to last delivery.
    fn last_after_ns(&self) -> Option<u64> {
        self.last_ns?.checked_sub(self.due_ns)
    }

    pub(super) fn row(&self, point: &Point, rooms: Option<&Rooms>, repetition: u32, begin_ns: u64) -> BroadcastRow {
        let since_begin = |ns: u64| ns.saturating_sub(begin_ns);
        BroadcastRow {
            point: point.index,
            repetition,
            sequence: self.sequence,
            due_ns: since_begin(self.due_ns),
            sent_ns: self.sent_ns.map(since_begin),
            replied_ns: self.replied_ns.map(since_begin),
            first_ns: self.first_ns.map(since_begin),
            last_ns: self.last_ns.map(since_begin),
            payload_bytes: point.payload_bytes,
            expected: self.expected,
            received: self.received,
            duplicate: self.duplicate,
            missing: self.missing(),
            out_of_order: self.out_of_order,
            unexpected: self.unexpected,
            lost_by_drop: self.lost_by_drop,
            latency_p50_ns: self.from_due.quantile_ns(0.5),
            latency_p90_ns: self.from_due.quantile_ns(0.9),
            latency_p99_ns: self.from_due.quantile_ns(0.99),
            latency_p999_ns: self.from_due.quantile_ns(0.999),
            latency_max_ns: self.from_due.max_ns(),
            uncorrected_p50_ns: self.from_sent.quantile_ns(0.5),
            uncorrected_p99_ns: self.from_sent.quantile_ns(0.99),
            over_range: self.from_due.over_range(),
            negative: self.from_due.negative(),
            room: rooms.map(|rooms| u64::from(rooms.room_of_broadcast(self.sequence))),
            lost_away: None,
            latency_p9999_ns: self.from_due.quantile_ns(0.9999),
        }
    }
}

/// Fills the delivery columns of `row`. They stay empty when no ledger came at all.
pub(super) fn totals(row: &mut PointRow, merged: &[Merged], raw: &Raw) {
    if merged.is_empty() {
        return;
    }
    let sum = |value: &dyn Fn(&Merged) -> u64| Some(merged.iter().map(value).sum());
    row.broadcasts = Some(merged.iter().filter(|m| m.sent_ns.is_some()).count() as u64);
    row.payload_bytes = Some(raw.point.payload_bytes);
    row.deliveries_expected = sum(&|m| m.expected);
    row.deliveries_received = sum(&|m| m.received);
    row.deliveries_duplicate = sum(&|m| m.duplicate);
    row.deliveries_missing = sum(&Merged::missing);
    row.deliveries_out_of_order = sum(&|m| m.out_of_order);
    row.deliveries_unexpected = sum(&|m| m.unexpected);
    let mut all = Recorder::new();
    for m in merged {
        all.merge(&m.from_due);
    }
    row.delivery_p50_ns = all.quantile_ns(0.5);
    row.delivery_p90_ns = all.quantile_ns(0.9);
    row.delivery_p99_ns = all.quantile_ns(0.99);
    row.delivery_p999_ns = all.quantile_ns(0.999);
    row.delivery_p9999_ns = all.quantile_ns(0.9999);
    row.delivery_max_ns = all.max_ns();
    if raw.agents.iter().filter_map(|a| a.clock).any(|clock| clock != Offset::default()) {
        row.clock_error_max_ns = raw.agents.iter().filter_map(|a| Some(a.clock?.error_ns)).max();
        let mut local = Recorder::new();
        for ledger in raw.agents[0].ledgers.values() {
            if let Ok(recorder) = ledger.from_due.to_recorder() {
                local.merge(&recorder);
            }
        }
        row.local_delivery_p50_ns = local.quantile_ns(0.5);
        row.local_delivery_p99_ns = local.quantile_ns(0.99);
        row.local_delivery_max_ns = local.max_ns();
    }
    let mut lasts: Vec<u64> = merged.iter().filter_map(Merged::last_after_ns).collect();
    lasts.sort_unstable();
    row.last_delivery_p50_ns = lasts.get(lasts.len().saturating_sub(1) / 2).copied();
    row.last_delivery_max_ns = lasts.last().copied();
}

/// Why the measurement is not complete, if it is not.
pub(super) fn incomplete(raw: &Raw, merged: &[Merged]) -> Option<String> {
    let plan = raw.broadcasts.as_ref()?;
    if let Some(i) = raw.agents.iter().position(|a| a.lost.is_none() && !a.measured) {
        return Some(format!("the measurement is incomplete: agent {i} did not come to its end"));
    }
    for sequence in 0..plan.count {
        let Some(m) = merged.iter().find(|m| m.sequence == sequence) else {
            return Some(format!(
                "the measurement is incomplete: no account of broadcast {sequence} of {}",
                plan.count
            ));
        };
        if m.sent_ns.is_none() && !m.sender_away {
            return Some(format!(
                "the measurement is incomplete: broadcast {sequence} of {} was never sent",
                plan.count
            ));
        }
        let lost = raw.agents.iter().filter(|a| a.lost.is_some()).count();
        if m.agents + lost < raw.agents.len() {
            return Some(format!("the measurement is incomplete: an agent gave no account of broadcast {sequence}"));
        }
    }
    None
}
