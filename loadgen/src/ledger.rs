//! Who was owed which broadcast, and who got it. Pure; each thread that holds clients owns one [`Ledger`] for them, and a
//! client owns its [`Seen`].
//!
//! A client whose join was read at time *t* is owed every broadcast due after *t*, until it is dropped. All due times
//! follow from the plan, so what a broadcast is owed by a thread is the number of its joined clients at the due time,
//! exactly. Between two drains a broadcast's changes and latencies collect here; the histograms come from a pool and go
//! back to it, so memory follows the broadcasts in flight and not their number.
//!
//! A client that leaves to come back stays expected meanwhile: each broadcast that is due then is lost to it, which is
//! counted at once, as is what it had not got when it left.
//!
//! With many rooms a client is owed the broadcasts of its own room. Its [`Seen`] then counts in ranks: the how-manieth of
//! its room a broadcast is. In one room that is the sequence itself.

use std::collections::{HashMap, VecDeque};

use c2m_schema::control::BroadcastPlan;
use c2m_schema::histogram::Recorder;

/// How far behind the newest broadcast a client's copies can be told apart. An older copy counts as a duplicate, so it can
/// never make up for a missing one.
pub const WINDOW: u32 = 64;

/// What one client has got, by sequence, or by rank in its room where there are many. Owned by the client; 20 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Bit *i* stands for broadcast `next - 1 - i`. In halves, so that the alignment stays four.
    window: [u32; 2],
    /// First broadcast the client is owed; `u32::MAX` until it is joined.
    owed_from: u32,
    /// One above the newest broadcast received.
    next: u32,
    /// A broadcast that was owed left the window without having come.
    gap: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self { window: [0; 2], owed_from: u32::MAX, next: 0, gap: false }
    }
}

/// What a copy is to the client that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    First,
    /// First copy, after a later broadcast.
    Late,
    Again,
}

impl Seen {
    fn bits(&self) -> u64 {
        u64::from(self.window[0]) | u64::from(self.window[1]) << 32
    }

    fn set_bits(&mut self, bits: u64) {
        self.window = [bits as u32, (bits >> 32) as u32];
    }

    fn mark(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.next {
            self.move_window(sequence + 1);
            self.set_bits(self.bits() | 1);
            return Arrival::First;
        }
        let back = self.next - 1 - sequence;
        if back >= WINDOW || self.bits() >> back & 1 == 1 {
            return Arrival::Again;
        }
        self.set_bits(self.bits() | 1 << back);
        Arrival::Late
    }

    fn move_window(&mut self, next: u32) {
        let steps = next - self.next;
        // Broadcasts that leave the window: from its old begin up to its new one.
        let (old_begin, new_begin) = (self.next.saturating_sub(WINDOW), next.saturating_sub(WINDOW));
        if new_begin > old_begin && !self.gap {
            self.gap = (old_begin.max(self.owed_from)..new_begin).any(|sequence| !self.has(sequence));
        }
        self.set_bits(if steps < WINDOW { self.bits() << steps } else { 0 });
        self.next = next;
    }

    /// Whether `sequence`, which is not older than the window, was received.
    fn has(&self, sequence: u32) -> bool {
        sequence < self.next && self.bits() >> (self.next - 1 - sequence).min(WINDOW - 1) & 1 == 1
    }

    /// The client leaves when `due` broadcasts were due. It is owed nothing until it is back.
    fn leave(&mut self, due: u32) {
        if due > self.next {
            self.move_window(due);
        }
        self.gap = self.has_gap(due);
        self.owed_from = u32::MAX;
    }

    /// The client is back, when `due` broadcasts were due.
    fn come_back(&mut self, due: u32) {
        self.gap |= due > self.next;
        self.owed_from = due;
    }

    /// Whether a broadcast before `due` that the client is owed has not come.
    fn has_gap(&self, due: u32) -> bool {
        let begin = self.next.saturating_sub(WINDOW).max(self.owed_from);
        self.gap || (begin..due).any(|sequence| !self.has(sequence))
    }
}

/// Delivery latencies of one broadcast.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// From the due time.
    pub from_due: Recorder,
    /// From the send time.
    pub from_sent: Recorder,
}

impl Latency {
    fn clear(&mut self) {
        self.from_due.clear();
        self.from_sent.clear();
    }
}

/// Changes of one broadcast's account since the last drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// This ledger now says what it is owed (once).
    pub opened: bool,
    /// This ledger will say no more (once).
    pub closed: bool,
    /// Clients that were joined at the due time.
    pub expected: u64,
    /// Of those, how many received it.
    pub received: u64,
    /// Copies beyond each client's first.
    pub duplicate: u64,
    /// Received after a later broadcast by the same client; also in `received`.
    pub out_of_order: u64,
    /// First copies of clients that were not owed one.
    pub unexpected: u64,
    /// Clients dropped before they received it.
    pub lost_by_drop: u64,
    /// Clients that left before they received it, or were away when it was due.
    pub lost_away: u64,
    /// First delivery.
    pub first_ns: Option<u64>,
    /// Last delivery.
    pub last_ns: Option<u64>,
}

#[derive(Debug, Default)]
struct Entry {
    delta: Delta,
    expected: u64,
    received: u64,
    latency: Option<Latency>,
}

/// A room that the plan speaks to.
#[derive(Debug, Default)]
struct Room {
    /// Its clients joined now.
    live: u64,
    /// Its clients on their way back.
    away: u64,
    /// Its broadcasts due so far.
    due: u32,
    /// Sequence of each of its broadcasts, by rank.
    sequences: Vec<u32>,
}

/// The plan's broadcasts by room.
#[derive(Debug, Default)]
struct Spread {
    /// Room and rank of each broadcast.
    places: Vec<(u32, u32)>,
    rooms: HashMap<u32, Room>,
}

impl Spread {
    fn new(
        rooms_of_broadcasts: &[u32],
        rooms_of_live: impl Iterator<Item = u32>,
        rooms_of_away: impl Iterator<Item = u32>,
    ) -> Self {
        let mut spread = Self::default();
        for (&number, sequence) in rooms_of_broadcasts.iter().zip(0..) {
            let room = spread.rooms.entry(number).or_default();
            spread.places.push((number, room.sequences.len() as u32));
            room.sequences.push(sequence);
        }
        for number in rooms_of_live {
            if let Some(room) = spread.rooms.get_mut(&number) {
                room.live += 1;
            }
        }
        for number in rooms_of_away {
            if let Some(room) = spread.rooms.get_mut(&number) {
                room.away += 1;
            }
        }
        spread
    }
}

/// The account of one thread's clients.
#[derive(Debug, Default)]
pub struct Ledger {
    plan: Option<BroadcastPlan>,
    /// None: everyone is in one room.
    spread: Option<Spread>,
    /// Clients joined now.
    live: u64,
    /// Clients on their way back.
    away: u64,
    /// Broadcasts due so far.
    due: u32,
    /// Broadcasts past their deadline so far.
    closed: u32,
    /// When the next one is due or closes; `u64::MAX` when none will be.
    next_change_ns: u64,
    /// Accounts of `closed..due`.
    open: VecDeque<Entry>,
    /// Accounts that closed and have not been drained.
    ended: Vec<(u32, Entry)>,
    pool: Vec<Latency>,
    late: u64,
    changed: bool,
    urgent: bool,
}

impl Ledger {
    /// A ledger of no clients and no broadcasts.
    pub fn new() -> Self {
        Self { next_change_ns: u64::MAX, ..Self::default() }
    }

    /// The schedule becomes known. Clients joined so far are owed all of it.
    pub fn begin(&mut self, plan: BroadcastPlan) {
        self.next_change_ns = plan.first_due_ns;
        self.plan = Some(plan);
        self.update_next_change();
    }

    /// As [`Self::begin`], with many rooms: the room of each broadcast, and of each client that is joined or on its way
    /// back now.
    pub fn begin_rooms(
        &mut self,
        plan: BroadcastPlan,
        rooms_of_broadcasts: &[u32],
        rooms_of_live: impl Iterator<Item = u32>,
        rooms_of_away: impl Iterator<Item = u32>,
    ) {
        self.spread = Some(Spread::new(rooms_of_broadcasts, rooms_of_live, rooms_of_away));
        self.begin(plan);
    }

    /// The schedule, once known.
    pub fn plan(&self) -> Option<&BroadcastPlan> {
        self.plan.as_ref()
    }

    /// Whether the message numbered `sequence` and due at `due_ns` by its own stamp is one of the schedule's.
    pub fn is_planned(&self, sequence: u32, due_ns: u64) -> bool {
        self.plan
            .as_ref()
            .is_some_and(|plan| sequence < plan.count && plan.stamped_ns(due_of(plan, sequence)) == due_ns)
    }

    /// Whether broadcast `sequence`, which [`Self::is_planned`], goes to `room`.
    pub fn is_of_room(&self, sequence: u32, room: u32) -> bool {
        self.spread.as_ref().is_none_or(|spread| spread.places[sequence as usize].0 == room)
    }

    /// The join of a client of `room` was read. With one room its number means nothing, here and below.
    pub fn join(&mut self, seen: &mut Seen, room: u32, now_ns: u64) {
        self.advance(now_ns);
        self.live += 1;
        seen.owed_from = match &mut self.spread {
            None => self.due,
            // A room that the plan does not speak to owes nothing.
            Some(spread) => spread.rooms.get_mut(&room).map_or(0, |room| {
                room.live += 1;
                room.due
            }),
        };
    }

    /// A joined client of `room` is lost.
    pub fn drop_client(&mut self, seen: &Seen, room: u32, now_ns: u64) {
        self.advance(now_ns);
        self.live -= 1;
        if let Some(room) = self.room_mut(room) {
            room.live -= 1;
        }
        self.lose(seen, room, |delta| &mut delta.lost_by_drop);
    }

    /// A joined client of `room` is lost and will come back.
    pub fn leave(&mut self, seen: &mut Seen, room: u32, now_ns: u64) {
        self.advance(now_ns);
        self.live -= 1;
        self.away += 1;
        if let Some(room) = self.room_mut(room) {
            room.live -= 1;
            room.away += 1;
        }
        self.lose(seen, room, |delta| &mut delta.lost_away);
        seen.leave(self.due_in(room));
    }

    /// A client that left is joined again.
    pub fn come_back(&mut self, seen: &mut Seen, room: u32, now_ns: u64) {
        self.give_up(room, now_ns);
        self.live += 1;
        if let Some(room) = self.room_mut(room) {
            room.live += 1;
        }
        seen.come_back(self.due_in(room));
    }

    /// A client that left does not come back: from now on it is not expected.
    pub fn give_up(&mut self, room: u32, now_ns: u64) {
        self.advance(now_ns);
        self.away -= 1;
        if let Some(room) = self.room_mut(room) {
            room.away -= 1;
        }
    }

    /// Counts what a client is owed and has not got, of broadcasts that are open.
    fn lose(&mut self, seen: &Seen, room: u32, count: impl Fn(&mut Delta) -> &mut u64) {
        let begin = seen.next.saturating_sub(WINDOW).max(seen.owed_from);
        let Self { spread, open, changed, closed, due, .. } = self;
        let mut lose = |sequence: u32| {
            if let Some(at) = sequence.checked_sub(*closed) {
                *count(&mut open[at as usize].delta) += 1;
                *changed = true;
            }
        };
        match spread {
            None => (begin.max(*closed)..*due).filter(|&sequence| !seen.has(sequence)).for_each(lose),
            Some(spread) => {
                let Some(room) = spread.rooms.get(&room) else { return };
                let lacking = (begin..room.due).filter(|&rank| !seen.has(rank));
                lacking.for_each(|rank| lose(room.sequences[rank as usize]));
            }
        }
    }

    /// The account of a room; none where there is one room, or the plan does not speak to this one.
    fn room_mut(&mut self, room: u32) -> Option<&mut Room> {
        self.spread.as_mut()?.rooms.get_mut(&room)
    }

    /// Broadcasts to a room that have been due.
    fn due_in(&self, room: u32) -> u32 {
        match &self.spread {
            None => self.due,
            Some(spread) => spread.rooms.get(&room).map_or(0, |room| room.due),
        }
    }

    /// A copy of broadcast `sequence`, which [`Self::is_planned`], came to a client that can't be meant: it named another
    /// room than its own.
    pub fn stray(&mut self, sequence: u32, now_ns: u64) {
        self.advance(now_ns);
        if sequence >= self.due {
            self.open_to(sequence + 1);
        }
        match sequence.checked_sub(self.closed) {
            Some(at) => self.open[at as usize].delta.unexpected += 1,
            None => self.late += 1,
        }
        self.changed = true;
    }

    /// A copy of broadcast `sequence`, which [`Self::is_planned`], came to a client of `room`; `sent_ns` is its stamp's.
    #[inline]
    pub fn deliver(&mut self, seen: &mut Seen, room: u32, sequence: u32, sent_ns: u64, now_ns: u64) {
        self.advance(now_ns);
        if sequence >= self.due {
            // Only another host's clock can be ahead: what has been received was due.
            self.open_to(sequence + 1);
        }
        let rank = match &self.spread {
            None => sequence,
            Some(spread) => match spread.places[sequence as usize] {
                (of, rank) if of == room => rank,
                _ => return self.stray(sequence, now_ns),
            },
        };
        let arrival = seen.mark(rank);
        let Some(at) = sequence.checked_sub(self.closed) else {
            self.late += 1;
            return;
        };
        let entry = &mut self.open[at as usize];
        self.changed = true;
        if arrival == Arrival::Again {
            entry.delta.duplicate += 1;
            return;
        }
        if rank < seen.owed_from {
            entry.delta.unexpected += 1;
            return;
        }
        entry.delta.received += 1;
        entry.delta.out_of_order += u64::from(arrival == Arrival::Late);
        entry.delta.first_ns.get_or_insert(now_ns);
        entry.delta.last_ns = Some(now_ns);
        let pool = &mut self.pool;
        let latency = entry.latency.get_or_insert_with(|| pool.pop().unwrap_or_default());
        let of_plan = |plan: &BroadcastPlan| (due_of(plan, sequence), plan.local_ns(sent_ns));
        let (due_ns, sent_ns) = self.plan.as_ref().map_or((now_ns, now_ns), of_plan);
        latency.from_due.record_span(due_ns, now_ns);
        latency.from_sent.record_span(sent_ns, now_ns);
        entry.received += 1;
        self.urgent |= entry.received == entry.expected;
    }

    /// Opens what has become due and closes what is past its deadline. Called with a clock that never goes back.
    #[inline]
    pub fn advance(&mut self, now_ns: u64) {
        if now_ns >= self.next_change_ns {
            self.change(now_ns);
        }
    }

    fn change(&mut self, now_ns: u64) {
        let Some(plan) = self.plan.clone() else { return };
        while self.due < plan.count && due_of(&plan, self.due) <= now_ns {
            self.open_to(self.due + 1);
        }
        while self.closed < self.due && closes_at(&plan, self.closed) <= now_ns {
            let mut entry = self.open.pop_front().unwrap_or_default();
            entry.delta.closed = true;
            self.ended.push((self.closed, entry));
            self.closed += 1;
            (self.changed, self.urgent) = (true, true);
        }
        self.update_next_change();
    }

    fn update_next_change(&mut self) {
        let Some(plan) = &self.plan else { return };
        let opens = if self.due < plan.count { due_of(plan, self.due) } else { u64::MAX };
        let closes = if self.closed < self.due { closes_at(plan, self.closed) } else { u64::MAX };
        self.next_change_ns = opens.min(closes);
    }

    fn open_to(&mut self, due: u32) {
        while self.due < due {
            let (live, lost_away) = match &mut self.spread {
                None => (self.live, self.away),
                Some(spread) => {
                    let room = spread.rooms.entry(spread.places[self.due as usize].0).or_default();
                    room.due += 1;
                    (room.live, room.away)
                }
            };
            let expected = live + lost_away;
            let delta = Delta { opened: true, expected, lost_away, ..Delta::default() };
            self.open.push_back(Entry { delta, expected, ..Entry::default() });
            self.due += 1;
            (self.changed, self.urgent) = (true, true);
        }
        self.update_next_change();
    }

    /// Whether anything changed since the last drain.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether something changed that others wait for: a broadcast became due, complete or closed.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Hands out every change since the last drain, by sequence.
    pub fn drain(&mut self, mut sink: impl FnMut(u32, &Delta, Option<&Latency>)) {
        let Self { ended, open, pool, .. } = self;
        let mut hand_out = |sequence: u32, entry: &mut Entry| {
            if entry.delta != Delta::default() {
                sink(sequence, &entry.delta, entry.latency.as_ref());
                entry.delta = Delta::default();
                if let Some(mut latency) = entry.latency.take() {
                    latency.clear();
                    pool.push(latency);
                }
            }
        };
        for (sequence, mut entry) in ended.drain(..) {
            hand_out(sequence, &mut entry);
        }
        for (sequence, entry) in (self.closed..).zip(open) {
            hand_out(sequence, entry);
        }
        (self.changed, self.urgent) = (false, false);
    }

    /// Copies that came after their broadcast was closed.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Whether a joined client of `room` lacks a broadcast that it is owed and that is due.
    pub fn has_gap(&self, seen: &Seen, room: u32) -> bool {
        seen.has_gap(self.due_in(room))
    }
}

/// Due time of one broadcast of a plan.
pub fn due_of(plan: &BroadcastPlan, sequence: u32) -> u64 {
    plan.first_due_ns.saturating_add(u64::from(sequence).saturating_mul(plan.interval_ns))
}

fn closes_at(plan: &BroadcastPlan, sequence: u32) -> u64 {
    due_of(plan, sequence).saturating_add(plan.deadline_ns)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
