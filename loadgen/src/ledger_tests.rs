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
    joined_at: BTreeMap<usize, u64>,
    dropped_at: BTreeMap<usize, u64>,
    deliveries: Vec<(usize, u32, u64)>,
}

impl Naive {
    fn account(&self, plan: &BroadcastPlan, sequence: u32, end: u64) -> Option<Delta> {
        let due = due_of(plan, sequence);
        if due > end {
            return None;
        }
        let close = due + plan.deadline_ns;
        let owed = |client: &usize| {
            let joined = self.joined_at.get(client).is_some_and(|&at| at < due);
            joined && self.dropped_at.get(client).is_none_or(|&at| at >= due)
        };
        let mut sum = Delta { opened: true, closed: close <= end, ..Delta::default() };
        sum.expected = self.joined_at.keys().filter(|client| owed(client)).count() as u64;
        for (at, &(client, which, now)) in self.deliveries.iter().enumerate() {
            if which != sequence || now >= close {
                continue;
            }
            let earlier = || self.deliveries[..at].iter().filter(|delivery| delivery.0 == client);
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
    /// Joins, drops and copies in any order and at any time: every counter is what a list of all events says.
    #[test]
    fn the_ledger_equals_a_naive_account(steps in steps(), deadline in 1u64..400) {
        let plan = plan(40, deadline);
        let (mut ledger, mut naive, mut sums) = (Ledger::new(), Naive::default(), Sums::default());
        ledger.begin(plan.clone());
        let mut seen = [Seen::default(); 6];
        let mut now = FIRST - 30;
        for step in steps {
            match step {
                Step::Join(client) if !naive.joined_at.contains_key(&client) => {
                    naive.joined_at.insert(client, now);
                    ledger.join(&mut seen[client], now);
                }
                Step::Drop(client) if naive.joined_at.contains_key(&client) && !naive.dropped_at.contains_key(&client) => {
                    naive.dropped_at.insert(client, now);
                    ledger.drop_client(&seen[client], now);
                }
                // What was sent was due, and a dropped client receives no more.
                Step::Deliver(client, sequence)
                    if due_of(&plan, sequence) <= now && !naive.dropped_at.contains_key(&client) => {
                    naive.deliveries.push((client, sequence, now));
                    ledger.deliver(&mut seen[client], sequence, due_of(&plan, sequence), now);
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
                due <= now && naive.joined_at[client] < due
            };
            let got = |sequence: u32| naive.deliveries.iter().any(|d| d.0 == *client && d.1 == sequence);
            (0..plan.count).filter(owed).any(|sequence| !got(sequence))
        };
        for client in naive.joined_at.keys().filter(|client| !naive.dropped_at.contains_key(client)) {
            prop_assert_eq!(ledger.has_gap(&seen[*client]), gaps(client));
        }
    }

    /// Over more broadcasts than the window holds, every one comes once and in order, or is known to be missing.
    #[test]
    fn a_client_that_misses_one_of_many_has_a_gap_for_ever(missing in 0u32..300, count in 300u32..400) {
        let (mut ledger, mut seen) = (Ledger::new(), Seen::default());
        ledger.join(&mut seen, 0);
        ledger.begin(plan(count, 1_000_000));
        for sequence in (0..count).filter(|&sequence| sequence != missing) {
            ledger.deliver(&mut seen, sequence, 0, FIRST + INTERVAL * u64::from(sequence));
        }
        prop_assert!(ledger.has_gap(&seen));
        let mut received = 0;
        ledger.drain(|_, delta, _| received += delta.received);
        prop_assert_eq!(received, u64::from(count) - 1);
    }
}

#[test]
fn a_copy_older_than_the_window_never_makes_up_for_a_missing_one() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 0);
    ledger.begin(plan(200, 1_000_000));
    let now = FIRST + INTERVAL * 200;
    for sequence in (1..=WINDOW).chain([0]) {
        ledger.deliver(&mut seen, sequence, 0, now);
    }
    sums.drain(&mut ledger);
    assert_eq!((sums.0[&0].0.received, sums.0[&0].0.duplicate), (0, 1));
    assert_eq!(sums.0[&1].0.received, 1);
}

#[test]
fn copies_after_the_deadline_are_late_and_in_no_account() {
    let (mut ledger, mut seen, mut sums) = (Ledger::new(), Seen::default(), Sums::default());
    ledger.join(&mut seen, 0);
    ledger.begin(plan(1, 50));
    ledger.deliver(&mut seen, 0, 0, FIRST + 50);
    sums.drain(&mut ledger);
    let sum = sums.0[&0].0;
    assert_eq!((sum.expected, sum.received, sum.closed, ledger.late()), (1, 0, true, 1));
}

#[test]
fn what_others_wait_for_is_urgent() {
    let (mut ledger, mut seen) = (Ledger::new(), Seen::default());
    ledger.join(&mut seen, 0);
    ledger.begin(plan(1, 50));
    ledger.advance(FIRST - 1);
    assert!(!ledger.has_changed());
    ledger.advance(FIRST);
    assert!(ledger.is_urgent(), "it became due");
    ledger.drain(|_, _, _| {});
    assert!(!ledger.is_urgent());
    ledger.deliver(&mut seen, 0, FIRST, FIRST + 1);
    assert!(ledger.is_urgent(), "it is complete");
    ledger.drain(|_, _, _| {});
    ledger.deliver(&mut seen, 0, FIRST, FIRST + 2);
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
