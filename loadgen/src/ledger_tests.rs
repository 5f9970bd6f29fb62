//! The ledger against a naive account that keeps every event.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const INTERVAL: u64 = 10;
const FIRST: u64 = 100;
const CLIENTS: usize = 6;

fn plan(count: u32, deadline_ns: u64) -> BroadcastPlan {
    BroadcastPlan {
        first_due_ns: FIRST,
        count,
        interval_ns: INTERVAL,
        payload_bytes: 64,
        deadline_ns,
        clock_offset_ns: 0,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Drop(usize),
    Leave(usize),
    ComeBack(usize),
    GiveUp(usize),
    Deliver(usize, u32),
    Wait(u64),
    Drain,
}

/// Sums of drained deltas, by sequence.
#[derive(Default)]
struct Sums(BTreeMap<u32, (Delta, u64, u64)>);

impl Sums {
    fn drain(&mut self, ledger: &mut Ledger) {
        ledger.drain(|sequence, delta, latency| {
            let (sum, from_due, from_sent) = self.0.entry(sequence).or_default();
            assert!(!sum.closed, "nothing after closing");
            assert!(!(sum.opened && delta.opened), "opened once");
            sum.opened |= delta.opened;
            sum.closed |= delta.closed;
            sum.expected += delta.expected;
            sum.received += delta.received;
            sum.duplicate += delta.duplicate;
            sum.out_of_order += delta.out_of_order;
            sum.unexpected += delta.unexpected;
            sum.lost_by_drop += delta.lost_by_drop;
            sum.lost_away += delta.lost_away;
            sum.first_ns = sum.first_ns.or(delta.first_ns);
            sum.last_ns = delta.last_ns.or(sum.last_ns);
            *from_due += latency.map_or(0, |latency| latency.from_due.count());
            *from_sent += latency.map_or(0, |latency| latency.from_sent.count());
        });
    }
}

/// A time in which a client was joined, ends included.
#[derive(Clone, Copy)]
struct Stay {
    from: u64,
    to: Option<u64>,
}

/// One client's life.
#[derive(Default)]
struct Life {
    stays: Vec<Stay>,
    /// When it was dropped, or gave up coming back.
    ended_at: Option<u64>,
    gave_up: bool,
}

impl Life {
    fn is_joined(&self) -> bool {
        self.stays.last().is_some_and(|stay| stay.to.is_none())
    }

    fn is_away(&self) -> bool {
        !self.stays.is_empty() && !self.is_joined() && self.ended_at.is_none()
    }

    /// The stay in which something due then was owed.
    fn stay_of(&self, due: u64) -> Option<usize> {
        self.stays.iter().position(|stay| stay.from < due && stay.to.is_none_or(|to| to >= due))
    }

    fn is_expected(&self, due: u64) -> bool {
        self.stays.first().is_some_and(|stay| stay.from < due) && self.ended_at.is_none_or(|at| at >= due)
    }
}

/// A copy that came to a client in one of its stays.
#[derive(Clone, Copy)]
struct Copied {
    client: usize,
    stay: usize,
    sequence: u32,
    now: u64,
}

/// The same account from lists of events.
#[derive(Default)]
struct Naive {
    rooms: u32,
    lives: [Life; CLIENTS],
    deliveries: Vec<Copied>,
}

impl Naive {
    fn room_of(&self, client: usize) -> u32 {
        client as u32 % self.rooms
    }

    fn room_of_broadcast(&self, sequence: u32) -> u32 {
        (sequence * 7 % 11) % self.rooms
    }

    fn is_meant(&self, client: usize, sequence: u32) -> bool {
        self.room_of(client) == self.room_of_broadcast(sequence)
    }

    /// Whether a copy came to whom it was owed, while it was.
    fn is_owed(&self, copy: &Copied, due: u64) -> bool {
        self.is_meant(copy.client, copy.sequence) && self.lives[copy.client].stay_of(due) == Some(copy.stay)
    }

    fn has_received(&self, client: usize, sequence: u32, due: u64) -> bool {
        self.deliveries.iter().any(|copy| copy.client == client && copy.sequence == sequence && self.is_owed(copy, due))
    }

    fn account(&self, plan: &BroadcastPlan, sequence: u32, end: u64) -> Option<Delta> {
        let due = due_of(plan, sequence);
        if due > end {
            return None;
        }
        let close = due + plan.deadline_ns;
        let mut sum = Delta { opened: true, closed: close <= end, ..Delta::default() };
        for (at, copy) in self.deliveries.iter().enumerate() {
            if copy.sequence != sequence || copy.now >= close {
                continue;
            }
            let earlier = || {
                let own = |other: &&Copied| other.client == copy.client && self.is_meant(other.client, other.sequence);
                self.deliveries[..at].iter().filter(own)
            };
            if earlier().any(|other| other.sequence == sequence) {
                sum.duplicate += 1;
            } else if self.is_owed(copy, due) {
                sum.received += 1;
                sum.out_of_order += u64::from(earlier().any(|other| other.sequence > sequence));
                sum.first_ns = sum.first_ns.or(Some(copy.now));
                sum.last_ns = Some(copy.now);
            } else {
                sum.unexpected += 1;
            }
        }
        for (client, life) in self.lives.iter().enumerate() {
            if !self.is_meant(client, sequence) || !life.is_expected(due) {
                continue;
            }
            sum.expected += 1;
            let Some(stay) = life.stay_of(due) else {
                sum.lost_away += 1;
                continue;
            };
            let to = life.stays[stay].to;
            if to.is_none_or(|to| to >= close) || self.has_received(client, sequence, due) {
                continue;
            }
            let is_dropped = stay + 1 == life.stays.len() && life.ended_at == to && !life.gave_up;
            *(if is_dropped { &mut sum.lost_by_drop } else { &mut sum.lost_away }) += 1;
        }
        Some(sum)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0usize..6).prop_map(Step::Join),
        1 => (0usize..6).prop_map(Step::Drop),
        2 => (0usize..6).prop_map(Step::Leave),
        3 => (0usize..6).prop_map(Step::ComeBack),
        1 => (0usize..6).prop_map(Step::GiveUp),
        6 => (0usize..6, 0u32..40).prop_map(|(client, sequence)| Step::Deliver(client, sequence)),
        4 => (1u64..25).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    /// Joins, drops, absences and copies in any order and at any time, in one room or several, and to clients of a wrong
    /// room: every counter is what a list of all events says.
    #[test]
    fn the_ledger_equals_a_naive_account(
        steps in steps(), deadline in 1u64..400, rooms in 1u32..4, early in 0usize..6, left in 0usize..3) {
        let plan = plan(40, deadline);
        let (mut ledger, mut sums) = (Ledger::new(), Sums::default());
        let mut naive = Naive { rooms, ..Naive::default() };
        let mut seen = [Seen::default(); CLIENTS];
        let mut now = FIRST - 30;
        let left = left.min(early);
        for (client, seen) in seen.iter_mut().enumerate().take(early) {
            ledger.join(seen, naive.room_of(client), now);
            let to = (client < left).then_some(now);
            naive.lives[client].stays.push(Stay { from: now, to });
            if to.is_some() {
                ledger.leave(seen, naive.room_of(client), now);
            }
        }
        if rooms == 1 {
            ledger.begin(plan.clone());
        } else {
            let broadcasts: Vec<u32> = (0..plan.count).map(|sequence| naive.room_of_broadcast(sequence)).collect();
            let rooms_of = |clients: std::ops::Range<usize>| clients.map(|client| client as u32 % rooms);
            ledger.begin_rooms(plan.clone(), &broadcasts, rooms_of(left..early), rooms_of(0..left));
        }
        for step in steps {
            match step {
                Step::Join(client) if naive.lives[client].stays.is_empty() => {
                    naive.lives[client].stays.push(Stay { from: now, to: None });
                    ledger.join(&mut seen[client], naive.room_of(client), now);
                }
                Step::Drop(client) if naive.lives[client].is_joined() => {
                    let life = &mut naive.lives[client];
                    life.stays.last_mut().unwrap().to = Some(now);
                    life.ended_at = Some(now);
                    ledger.drop_client(&seen[client], naive.room_of(client), now);
                }
                Step::Leave(client) if naive.lives[client].is_joined() => {
                    naive.lives[client].stays.last_mut().unwrap().to = Some(now);
                    ledger.leave(&mut seen[client], naive.room_of(client), now);
                }
                Step::ComeBack(client) if naive.lives[client].is_away() => {
                    naive.lives[client].stays.push(Stay { from: now, to: None });
                    ledger.come_back(&mut seen[client], naive.room_of(client), now);
                }
                Step::GiveUp(client) if naive.lives[client].is_away() => {
                    (naive.lives[client].ended_at, naive.lives[client].gave_up) = (Some(now), true);
                    ledger.give_up(naive.room_of(client), now);
                }
                // What was sent was due, and who is not joined receives nothing; but copies may come before the answer to
                // the first join.
                Step::Deliver(client, sequence)
                    if due_of(&plan, sequence) <= now
                        && (naive.lives[client].is_joined() || naive.lives[client].stays.is_empty()) => {
                    let stay = naive.lives[client].stays.len().wrapping_sub(1);
                    naive.deliveries.push(Copied { client, stay, sequence, now });
                    let room = naive.room_of(client);
                    ledger.deliver(&mut seen[client], room, sequence, due_of(&plan, sequence), now);
                }
                Step::Wait(ns) => now += ns,
                Step::Drain => sums.drain(&mut ledger),
                _ => {}
            }
        }
        ledger.advance(now);
        sums.drain(&mut ledger);
        for sequence in 0..plan.count {
            let (sum, from_due, from_sent) = match sums.0.get(&sequence) {
                Some(&(sum, from_due, from_sent)) => (Some(sum), from_due, from_sent),
                None => (None, 0, 0),
            };
            prop_assert_eq!(sum, naive.account(&plan, sequence, now), "sequence {}", sequence);
            prop_assert_eq!(from_due, sum.map_or(0, |sum| sum.received));
            prop_assert_eq!(from_sent, from_due);
        }
        for (client, life) in naive.lives.iter().enumerate().filter(|(_, life)| life.is_joined()) {
            let lacks = |sequence: u32| {
                let due = due_of(&plan, sequence);
                let is_owed = naive.is_meant(client, sequence) && due <= now && life.is_expected(due);
                is_owed && !naive.has_received(client, sequence, due)
            };
            prop_assert_eq!(ledger.has_gap(&seen[client], naive.room_of(client)), (0..plan.count).any(lacks));
        }
    }

    /// Over more broadcasts than the window holds, every one comes once and in order, or is known to be missing.
    #[test]
    fn a_client_that_misses_one_of_many_has_a_gap_for_ever(missing in 0u32..300, count in 300u32..400) {
        let (mut ledger, mut seen) = (Ledger::new(), Seen::default());
        ledger.join(&mut seen, 0, 0);
        ledger.begin(plan(count, 1_000_000));
        for sequence in (0..count).filter(|&sequence| sequence != missing) {
            ledger.deliver(&mut seen, 0, sequence, 0, FIRST + INTERVAL * u64::from(sequence));
        }
        // The last one is due even when it is the one that does not come.
        ledger.advance(FIRST + INTERVAL * u64::from(count));
        prop_assert!(ledger.has_gap(&seen, 0));
        let mut received = 0;
        ledger.drain(|_, delta, _| received += delta.received);
        prop_assert_eq!(received, u64::from(count) - 1);
    }
}

#[test]
fn a_copy_older_than_the_window_never_makes_up_for_a_missing_one() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 0, 0);
    ledger.begin(plan(200, 1_000_000));
    let now = FIRST + INTERVAL * 200;
    for sequence in (1..=WINDOW).chain([0]) {
        ledger.deliver(&mut seen, 0, sequence, 0, now);
    }
    sums.drain(&mut ledger);
    assert_eq!((sums.0[&0].0.received, sums.0[&0].0.duplicate), (0, 1));
    assert_eq!(sums.0[&1].0.received, 1);
}

#[test]
fn copies_after_the_deadline_are_late_and_in_no_account() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 0, 0);
    ledger.begin(plan(1, 50));
    ledger.deliver(&mut seen, 0, 0, 0, FIRST + 50);
    sums.drain(&mut ledger);
    let sum = sums.0[&0].0;
    assert_eq!((sum.expected, sum.received, sum.closed, ledger.late()), (1, 0, true, 1));
}

/// C27: what is due while a client is away is lost with that reason, and the client is expected all the time.
#[test]
fn a_client_that_is_away_stays_expected_and_what_it_misses_is_told_apart() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 0, 0);
    ledger.begin(plan(5, 1000));
    let due = |sequence: u64| FIRST + INTERVAL * sequence;
    ledger.deliver(&mut seen, 0, 0, due(0), due(0) + 1);
    ledger.leave(&mut seen, 0, due(1) + 1);
    ledger.come_back(&mut seen, 0, due(2) + 1);
    assert!(ledger.has_gap(&seen, 0));
    ledger.deliver(&mut seen, 0, 2, due(2), due(2) + 2);
    ledger.deliver(&mut seen, 0, 3, due(3), due(3) + 1);
    ledger.leave(&mut seen, 0, due(3) + 2);
    ledger.give_up(0, due(3) + 3);
    ledger.advance(due(4));
    sums.drain(&mut ledger);
    let counts = |sequence| {
        let sum = sums.0[&sequence].0;
        [sum.expected, sum.received, sum.lost_away, sum.unexpected]
    };
    assert_eq!(counts(0), [1, 1, 0, 0]);
    assert_eq!(counts(1), [1, 0, 1, 0], "it left before its copy came");
    assert_eq!(counts(2), [1, 0, 1, 1], "it was away when it was due; a copy after its return was not owed");
    assert_eq!(counts(3), [1, 1, 0, 0]);
    assert_eq!(counts(4), [0, 0, 0, 0], "it has given up");
}

#[test]
fn what_others_wait_for_is_urgent() {
    let (mut ledger, mut seen) = (Ledger::new(), Seen::default());
    ledger.join(&mut seen, 0, 0);
    ledger.begin(plan(1, 50));
    ledger.advance(FIRST - 1);
    assert!(!ledger.has_changed());
    ledger.advance(FIRST);
    assert!(ledger.is_urgent(), "it became due");
    ledger.drain(|_, _, _| {});
    assert!(!ledger.is_urgent());
    ledger.deliver(&mut seen, 0, 0, FIRST, FIRST + 1);
    assert!(ledger.is_urgent(), "it is complete");
    ledger.drain(|_, _, _| {});
    ledger.deliver(&mut seen, 0, 0, FIRST, FIRST + 2);
    assert!(ledger.has_changed() && !ledger.is_urgent(), "a duplicate can wait");
}

#[test]
fn foreign_stamps_are_not_of_the_plan() {
    let mut ledger = Ledger::new();
    assert!(!ledger.is_planned(0, FIRST));
    ledger.begin(plan(3, 50));
    assert!(ledger.is_planned(2, FIRST + 2 * INTERVAL));
    assert!(!ledger.is_planned(3, FIRST + 3 * INTERVAL));
    assert!(!ledger.is_planned(2, FIRST));
}

#[test]
fn a_copy_that_names_a_wrong_room_is_unexpected_and_makes_up_for_none() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 5, 0);
    ledger.begin_rooms(plan(2, 50), &[5, 9], [5].into_iter(), std::iter::empty());
    assert!(ledger.is_of_room(0, 5) && !ledger.is_of_room(1, 5));
    ledger.stray(0, FIRST);
    ledger.deliver(&mut seen, 5, 1, FIRST, FIRST + INTERVAL);
    assert!(ledger.has_gap(&seen, 5));
    ledger.deliver(&mut seen, 5, 0, FIRST, FIRST + INTERVAL);
    assert!(!ledger.has_gap(&seen, 5));
    sums.drain(&mut ledger);
    let counts = |sequence| {
        let sum = sums.0[&sequence].0;
        (sum.expected, sum.received, sum.unexpected, sum.duplicate)
    };
    assert_eq!((counts(0), counts(1)), ((1, 1, 1, 0), (0, 0, 1, 0)));
}
