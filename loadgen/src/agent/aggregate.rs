//! The agent's account of every broadcast: the sum of its threads' ledgers. Threads add to it at most a few times a
//! second each and when a broadcast is due, complete or closed; the main thread reads it. Histograms are held for
//! broadcasts in flight only, those that are over are kept in their wire form.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use c2m_schema::control::{BroadcastLedger, BroadcastPlan};
use c2m_schema::histogram::HistogramWire;

use crate::ledger::{Delta, Latency, Ledger, due_of};

/// Sums by broadcast, behind one lock.
#[derive(Debug)]
pub(crate) struct Aggregate {
    /// Ledgers that add to it.
    ledgers: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<BroadcastPlan>,
    accounts: BTreeMap<u32, Account>,
    /// Accounts below are told and won't change.
    told: u32,
}

#[derive(Debug, Default)]
struct Account {
    opened: u32,
    closed: u32,
    sum: Delta,
    sent_ns: Option<u64>,
    replied_ns: Option<u64>,
    sender_away: bool,
    latency: Option<Box<Latency>>,
    wire: Option<(HistogramWire, HistogramWire)>,
    /// Received and duplicates when it was told last.
    told: Option<Delta>,
}

impl Account {
    fn is_complete(&self, ledgers: u32) -> bool {
        self.opened == ledgers && self.sum.received == self.sum.expected
    }

    fn to_ledger(&self, plan: &BroadcastPlan, sequence: u32) -> BroadcastLedger {
        let (from_due, from_sent) = self.wire.clone().unwrap_or_else(|| match &self.latency {
            Some(latency) => (latency.from_due.to_wire(), latency.from_sent.to_wire()),
            None => (Latency::default().from_due.to_wire(), Latency::default().from_sent.to_wire()),
        });
        let missing = self.sum.expected - self.sum.received;
        BroadcastLedger {
            sequence,
            due_ns: due_of(plan, sequence),
            sent_ns: self.sent_ns,
            replied_ns: self.replied_ns,
            expected: self.sum.expected,
            received: self.sum.received,
            duplicate: self.sum.duplicate,
            out_of_order: self.sum.out_of_order,
            unexpected: self.sum.unexpected,
            lost_by_drop: self.sum.lost_by_drop,
            lost_away: if self.sender_away { missing - self.sum.lost_by_drop } else { self.sum.lost_away },
            sender_away: self.sender_away,
            first_ns: self.sum.first_ns,
            last_ns: self.sum.last_ns,
            from_due,
            from_sent,
        }
    }

    fn add(&mut self, delta: &Delta, latency: Option<&Latency>) {
        self.opened += u32::from(delta.opened);
        self.closed += u32::from(delta.closed);
        let sum = &mut self.sum;
        sum.expected += delta.expected;
        sum.received += delta.received;
        sum.duplicate += delta.duplicate;
        sum.out_of_order += delta.out_of_order;
        sum.unexpected += delta.unexpected;
        sum.lost_by_drop += delta.lost_by_drop;
        sum.lost_away += delta.lost_away;
        sum.first_ns = [sum.first_ns, delta.first_ns].into_iter().flatten().min();
        sum.last_ns = sum.last_ns.max(delta.last_ns);
        if let Some(latency) = latency {
            let sum = self.latency.get_or_insert_default();
            sum.from_due.merge(&latency.from_due);
            sum.from_sent.merge(&latency.from_sent);
        }
    }
}

impl Aggregate {
    /// An account to which `ledgers` ledgers will add.
    pub(crate) fn new(ledgers: u32) -> Self {
        Self { ledgers, state: Mutex::default() }
    }

    /// The schedule becomes known.
    pub(crate) fn begin(&self, plan: BroadcastPlan) {
        self.state().plan = Some(plan);
    }

    /// Takes over what changed in one thread's ledger.
    pub(crate) fn absorb(&self, ledger: &mut Ledger) {
        let mut state = self.state();
        ledger.drain(|sequence, delta, latency| {
            let account = state.accounts.entry(sequence).or_default();
            account.add(delta, latency);
            if account.closed == self.ledgers && account.wire.is_none() {
                let latency = account.latency.take().unwrap_or_default();
                account.wire = Some((latency.from_due.to_wire(), latency.from_sent.to_wire()));
            }
        });
    }

    /// The publisher sent a broadcast.
    pub(crate) fn sent(&self, sequence: u32, now_ns: u64) {
        self.state().accounts.entry(sequence).or_default().sent_ns = Some(now_ns);
    }

    /// A broadcast is not sent, since its sender was on its way back when it was due.
    pub(crate) fn not_sent(&self, sequence: u32) {
        self.state().accounts.entry(sequence).or_default().sender_away = true;
    }

    /// The server answered the publisher's push.
    pub(crate) fn replied(&self, sequence: u32, now_ns: u64) {
        self.state().accounts.entry(sequence).or_default().replied_ns.get_or_insert(now_ns);
    }

    /// Broadcasts that became complete, or were closed with another account than was told before; by sequence.
    pub(crate) fn take_news(&self) -> Vec<BroadcastLedger> {
        let mut state = self.state();
        let State { plan: Some(plan), accounts, told } = &mut *state else { return Vec::new() };
        let mut news = Vec::new();
        let mut all_closed = true;
        for (&sequence, account) in accounts.range_mut(*told..) {
            let is_closed = account.closed == self.ledgers;
            let is_news = account.is_complete(self.ledgers) && account.told.is_none();
            if is_news || (is_closed && account.told != Some(account.sum)) {
                account.told = Some(account.sum);
                news.push(account.to_ledger(plan, sequence));
            }
            all_closed &= is_closed && sequence == *told;
            *told += u32::from(all_closed);
        }
        news
    }

    /// Whether every broadcast of the plan is complete or past its deadline.
    pub(crate) fn is_measured(&self) -> bool {
        let state = self.state();
        let Some(plan) = &state.plan else { return false };
        let is_over = |account: &Account| account.closed == self.ledgers || account.is_complete(self.ledgers);
        state.accounts.len() as u64 == u64::from(plan.count)
            && state.accounts.range(state.told..).all(|(_, account)| is_over(account))
    }

    /// Every broadcast that has become due.
    pub(crate) fn ledgers(&self) -> Vec<BroadcastLedger> {
        let state = self.state();
        let Some(plan) = &state.plan else { return Vec::new() };
        let due = state.accounts.iter().filter(|(_, account)| account.opened > 0 || account.sent_ns.is_some());
        due.map(|(&sequence, account)| account.to_ledger(plan, sequence)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Seen;

    fn plan() -> BroadcastPlan {
        BroadcastPlan {
            first_due_ns: 100,
            count: 2,
            interval_ns: 10,
            payload_bytes: 64,
            deadline_ns: 50,
            clock_offset_ns: 0,
        }
    }

    fn ledger(clients: usize) -> (Ledger, Vec<Seen>) {
        let (mut ledger, mut seen) = (Ledger::new(), vec![Seen::default(); clients]);
        for seen in &mut seen {
            ledger.join(seen, 0, 0);
        }
        ledger.begin(plan());
        (ledger, seen)
    }

    #[test]
    fn a_broadcast_is_told_when_all_threads_have_theirs_and_again_only_when_it_changed() {
        let aggregate = Aggregate::new(2);
        aggregate.begin(plan());
        let ((mut a, mut seen_a), (mut b, mut seen_b)) = (ledger(1), ledger(2));
        a.deliver(&mut seen_a[0], 0, 0, 101, 103);
        aggregate.absorb(&mut a);
        assert!(aggregate.take_news().is_empty(), "the other thread has not said what it is owed");
        b.deliver(&mut seen_b[0], 0, 0, 101, 104);
        aggregate.absorb(&mut b);
        assert!(aggregate.take_news().is_empty(), "one is missing");
        aggregate.sent(0, 101);
        b.deliver(&mut seen_b[1], 0, 0, 101, 106);
        aggregate.absorb(&mut b);
        let news = aggregate.take_news();
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].expected, news[0].received, news[0].sent_ns), (3, 3, Some(101)));
        assert_eq!((news[0].first_ns, news[0].last_ns), (Some(103), Some(106)));
        assert_eq!(news[0].from_due.to_recorder().unwrap().count(), 3);
        assert!(aggregate.take_news().is_empty());

        b.deliver(&mut seen_b[1], 0, 0, 101, 107);
        for ledger in [&mut a, &mut b] {
            ledger.advance(1000);
            aggregate.absorb(ledger);
        }
        let news = aggregate.take_news();
        assert_eq!((news[0].sequence, news[0].duplicate, news[0].received), (0, 1, 3), "told again for its duplicate");
        assert_eq!((news[1].sequence, news[1].expected, news[1].received), (1, 3, 0), "told at its deadline");
        assert!(aggregate.take_news().is_empty());
        assert!(aggregate.is_measured());
        assert_eq!(aggregate.ledgers(), news);
    }

    #[test]
    fn it_is_measured_only_when_every_broadcast_is_over() {
        let aggregate = Aggregate::new(1);
        aggregate.begin(plan());
        let (mut ledger, mut seen) = ledger(1);
        ledger.deliver(&mut seen[0], 0, 0, 100, 101);
        aggregate.absorb(&mut ledger);
        assert_eq!(aggregate.take_news().len(), 1);
        assert!(!aggregate.is_measured(), "the second is not due yet");
        ledger.deliver(&mut seen[0], 0, 1, 110, 111);
        aggregate.absorb(&mut ledger);
        assert!(aggregate.is_measured(), "complete is enough");
    }
}
