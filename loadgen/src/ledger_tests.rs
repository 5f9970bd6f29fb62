//! The ledger against a naive account that keeps every event.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const INTERVAL: u64 = 10;
const FIRST: u64 = 100;

fn plan(count: u32, deadline_ns: u64) -> BroadcastPlan {
    BroadcastPlan { first_due_ns: FIRST, count, interval_ns: INTERVAL, payload_bytes: 64, deadline_ns }
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Drop(usize),
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
            sum.first_ns = sum.first_ns.or(delta.first_ns);
            sum.last_ns = delta.last_ns.or(sum.last_ns);
            *from_due += latency.map_or(0, |latency| latency.from_due.count());
            *from_sent += latency.map_or(0, |latency| latency.from_sent.count());
        });
    }
}

/// The same account from lists of events.
#[derive(Default)]
struct Naive {
    rooms: u32,
    joined_at: BTreeMap<usize, u64>,
    dropped_at: BTreeMap<usize, u64>,
    deliveries: Vec<(usize, u32, u64)>,
}

impl Naive {
    fn room_of(&self, client: usize) -> u32 {
        client as u32 % self.rooms
    }

    fn room_of_broadcast(&self, sequence: u32) -> u32 {
        (sequence * 7 % 11) % self.rooms
    }

    fn account(&self, plan: &BroadcastPlan, sequence: u32, end: u64) -> Option<Delta> {
        let due = due_of(plan, sequence);
        if due > end {
            return None;
        }
        let close = due + plan.deadline_ns;
        let is_meant = |client: usize| self.room_of(client) == self.room_of_broadcast(sequence);
        let owed = |client: &usize| {
            let joined = self.joined_at.get(client).is_some_and(|&at| at < due);
            is_meant(*client) && joined && self.dropped_at.get(client).is_none_or(|&at| at >= due)
        };
        let mut sum = Delta { opened: true, closed: close <= end, ..Delta::default() };
        sum.expected = self.joined_at.keys().filter(|client| owed(client)).count() as u64;
        for (at, &(client, which, now)) in self.deliveries.iter().enumerate() {
            if which != sequence || now >= close {
                continue;
            }
            let in_room = |sequence| self.room_of(client) == self.room_of_broadcast(sequence);
            let earlier =
                || self.deliveries[..at].iter().filter(|delivery| delivery.0 == client && in_room(delivery.1));
            if earlier().any(|delivery| delivery.1 == sequence) {
                sum.duplicate += 1;
            } else if owed(&client) {
                sum.received += 1;
                sum.out_of_order += u64::from(earlier().any(|delivery| delivery.1 > sequence));
                sum.first_ns = sum.first_ns.or(Some(now));
                sum.last_ns = Some(now);
            } else {
                sum.unexpected += 1;
            }
        }
        let received_by = |client: usize| self.deliveries.iter().any(|d| d.0 == client && d.1 == sequence);
        let lost = |(&client, &at): (&usize, &u64)| owed(&client) && at < close && !received_by(client);
        sum.lost_by_drop = self.dropped_at.iter().filter(|&entry| lost(entry)).count() as u64;
        Some(sum)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0usize..6).prop_map(Step::Join),
        1 => (0usize..6).prop_map(Step::Drop),
        6 => (0usize..6, 0u32..40).prop_map(|(client, sequence)| Step::Deliver(client, sequence)),
        4 => (1u64..25).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    /// Joins, drops and copies in any order and at any time, in one room or several, and to clients of a wrong room: every
    /// counter is what a list of all events says.
    #[test]
    fn the_ledger_equals_a_naive_account(steps in steps(), deadline in 1u64..400, rooms in 1u32..4, early in 0usize..6) {
        let plan = plan(40, deadline);
        let (mut ledger, mut sums) = (Ledger::new(), Sums::default());
        let mut naive = Naive { rooms, ..Naive::default() };
        let mut seen = [Seen::default(); 6];
        let mut now = FIRST - 30;
        for (client, seen) in seen.iter_mut().enumerate().take(early) {
            naive.joined_at.insert(client, now);
            ledger.join(seen, naive.room_of(client), now);
        }
        if rooms == 1 {
            ledger.begin(plan.clone());
        } else {
            let broadcasts: Vec<u32> = (0..plan.count).map(|sequence| naive.room_of_broadcast(sequence)).collect();
            ledger.begin_rooms(plan.clone(), &broadcasts, (0..early).map(|client| naive.room_of(client)));
        }
        for step in steps {
            match step {
                Step::Join(client) if !naive.joined_at.contains_key(&client) => {
                    naive.joined_at.insert(client, now);
                    ledger.join(&mut seen[client], naive.room_of(client), now);
                }
                Step::Drop(client) if naive.joined_at.contains_key(&client) && !naive.dropped_at.contains_key(&client) => {
                    naive.dropped_at.insert(client, now);
                    ledger.drop_client(&seen[client], naive.room_of(client), now);
                }
                // What was sent was due, and a dropped client receives no more.
                Step::Deliver(client, sequence)
                    if due_of(&plan, sequence) <= now && !naive.dropped_at.contains_key(&client) => {
                    naive.deliveries.push((client, sequence, now));
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
        let gaps = |client: &usize| {
            let owed = |sequence: &u32| {
                let due = due_of(&plan, *sequence);
                let is_meant = naive.room_of(*client) == naive.room_of_broadcast(*sequence);
                is_meant && due <= now && naive.joined_at[client] < due
            };
            let got = |sequence: u32| naive.deliveries.iter().any(|d| d.0 == *client && d.1 == sequence);
            (0..plan.count).filter(owed).any(|sequence| !got(sequence))
        };
        for client in naive.joined_at.keys().filter(|client| !naive.dropped_at.contains_key(client)) {
            prop_assert_eq!(ledger.has_gap(&seen[*client], naive.room_of(*client)), gaps(client));
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
    ledger.begin_rooms(plan(2, 50), &[5, 9], [5].into_iter());
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
