//! Clients that come back (`reconnect`): who is on its way since when, and when each tries next. A worker owns it; it takes
//! no memory before the first loss.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use c2m_host::clock::monotonic_ns;

use super::Worker;
use super::client::State;
use crate::reconnect::{Pace, Wait};
use crate::stats::Kind;
use crate::wire;

/// Tries begun in one turn, as few as arrivals.
const BATCH: u32 = 8;

/// A client that was lost at least once.
#[derive(Clone, Copy, Debug, Default)]
struct Journey {
    /// Steps waited for so far. It numbers connections as well: each has a step before it.
    step: u32,
    /// Connects since the last upgrade.
    connects: u32,
    /// Joins that failed on this connection.
    joins: u32,
    /// It is on its way.
    is_away: bool,
    lost_ns: u64,
}

/// A try to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Try {
    due_ns: u64,
    client: u32,
    step: u32,
}

/// The clients of a worker that come back.
#[derive(Debug)]
pub(super) struct Returns {
    is_on: bool,
    /// From when on the arrival schedule has places free.
    pub(super) free_from_ns: u64,
    /// Before this there is no turn for anybody.
    held_until_ns: u64,
    journeys: HashMap<u32, Journey>,
    /// By time; some are of steps that are no longer waited for.
    tries: BinaryHeap<Reverse<Try>>,
    random: u64,
}

impl Returns {
    pub(super) fn new(is_on: bool, seed: u64) -> Self {
        Self {
            is_on,
            free_from_ns: u64::MAX,
            held_until_ns: 0,
            journeys: HashMap::new(),
            tries: BinaryHeap::new(),
            random: seed,
        }
    }

    /// Whether lost clients come back at all.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Number of the client's connection; 0 is its first.
    pub(super) fn connection(&self, at: usize) -> u32 {
        self.journey(at).map_or(0, |journey| journey.step)
    }

    /// Whether the client was joined, was lost and is not joined again yet.
    pub(super) fn is_away(&self, at: usize) -> bool {
        self.journey(at).is_some_and(|journey| journey.is_away)
    }

    /// All of those.
    pub(super) fn away(&self) -> impl Iterator<Item = usize> {
        self.journeys.iter().filter(|(_, journey)| journey.is_away).map(|(&client, _)| client as usize)
    }

    /// A joined client was lost.
    fn leave(&mut self, at: usize, now_ns: u64) {
        let journey = self.journeys.entry(at as u32).or_default();
        (journey.is_away, journey.lost_ns) = (true, now_ns);
    }

    /// The client waits before it tries again.
    fn wait(&mut self, at: usize, wait: Wait, now_ns: u64) {
        self.random = wire::mix(self.random);
        let journey = self.journeys.entry(at as u32).or_default();
        journey.step += 1;
        let tries = match wait {
            Wait::Reconnect => &mut journey.connects,
            Wait::Rejoin => &mut journey.joins,
        };
        *tries += 1;
        let due_ns = (now_ns + wait.ns(*tries, self.random)).max(self.free_from_ns);
        self.tries.push(Reverse(Try { due_ns, client: at as u32, step: journey.step }));
    }

    /// The client's connection was upgraded, after which waits begin anew, as the official client's do.
    pub(super) fn upgraded(&mut self, at: usize) {
        if let Some(journey) = self.journeys.get_mut(&(at as u32)) {
            (journey.connects, journey.joins) = (0, 0);
        }
    }

    /// The client is joined. Gives when it was lost, if it comes back.
    pub(super) fn arrive(&mut self, at: usize) -> Option<u64> {
        let journey = self.journeys.get_mut(&(at as u32)).filter(|journey| journey.is_away)?;
        (journey.is_away, journey.joins) = (false, 0);
        Some(journey.lost_ns)
    }

    /// The client is lost for good. Tells whether it was on its way.
    pub(super) fn end(&mut self, at: usize) -> bool {
        self.journeys.remove(&(at as u32)).is_some_and(|journey| journey.is_away)
    }

    /// The next client whose try is due, when it is its turn.
    fn pop_due(&mut self, pace: &Pace, now_ns: u64) -> Option<usize> {
        while let Some(&Reverse(next)) = self.tries.peek() {
            let at = next.client as usize;
            if !self.journey(at).is_some_and(|journey| journey.is_away && journey.step == next.step) {
                self.tries.pop();
                continue;
            }
            if next.due_ns > now_ns {
                return None;
            }
            if let Err(until_ns) = pace.take(now_ns) {
                self.held_until_ns = until_ns;
                return None;
            }
            self.tries.pop();
            return Some(at);
        }
        None
    }

    /// When the next try may be made.
    pub(super) fn next_ns(&self) -> u64 {
        self.tries.peek().map_or(u64::MAX, |next| next.0.due_ns.max(self.held_until_ns))
    }

    fn journey(&self, at: usize) -> Option<&Journey> {
        self.journeys.get(&(at as u32))
    }
}

impl Worker {
    /// A client that was joined is to connect again.
    pub(super) fn go_away(&mut self, at: usize, kind: Kind, code: i64) {
        let now = monotonic_ns();
        self.depart(at, kind, code, now);
        let client = &mut self.clients[at];
        client.state = State::Away;
        client.socket = None;
        client.rest = None;
        self.shared.sources.give_back(client.slot);
        self.returns.wait(at, Wait::Reconnect, now);
    }

    /// A client that was joined is to join again on its connection.
    pub(super) fn await_rejoin(&mut self, at: usize, kind: Kind, code: i64) {
        let now = monotonic_ns();
        self.depart(at, kind, code, now);
        self.clients[at].state = State::Errored;
        self.returns.wait(at, Wait::Rejoin, now);
    }

    fn depart(&mut self, at: usize, kind: Kind, code: i64, now: u64) {
        if self.clients[at].state != State::Joined {
            self.counters.retry(kind, code);
            return;
        }
        let room = self.room(at);
        self.ledger.leave(&mut self.clients[at].seen, room, now);
        self.counters.leave(kind, code);
        self.heartbeats.forget(at);
        self.returns.leave(at, now);
    }

    /// Makes the tries that are due.
    pub(super) fn begin_due_returns(&mut self, now: u64) {
        let shared = std::sync::Arc::clone(&self.shared);
        let Some(reconnect) = &shared.reconnect else { return };
        for _ in 0..BATCH {
            let Some(at) = self.returns.pop_due(&reconnect.pace, now) else { return };
            match self.clients[at].state {
                State::Away => self.connect_again(at, now),
                State::Errored => self.begin_join(at, now),
                // A step ends with the state that it waits in.
                _ => {}
            }
        }
    }

    fn connect_again(&mut self, at: usize, now: u64) {
        match self.open_socket(at) {
            Ok((slot, socket)) => {
                let client = &mut self.clients[at];
                (client.slot, client.socket, client.state) = (slot, Some(socket), State::Connecting);
                self.connecting(at, now);
            }
            Err(errno) => {
                self.counters.retry(Kind::Connect, i64::from(errno));
                self.returns.wait(at, Wait::Reconnect, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn returns() -> Returns {
        Returns { free_from_ns: 0, ..Returns::new(true, 7) }
    }

    #[test]
    fn a_client_tries_after_its_wait_and_only_the_newest_step_counts() {
        let (mut returns, pace) = (returns(), Pace::new(1e9, 1_000_000_000));
        returns.leave(3, 0);
        returns.wait(3, Wait::Rejoin, 0);
        assert_eq!((returns.connection(3), returns.is_away(3)), (1, true));
        // Its connection is lost before it joins again.
        returns.wait(3, Wait::Reconnect, 0);
        assert_eq!(returns.pop_due(&pace, 10 * MS - 1), None);
        assert_eq!(returns.pop_due(&pace, 15 * MS), Some(3));
        assert_eq!(returns.pop_due(&pace, 60_000 * MS), None, "the rejoin is not waited for any more");
        returns.wait(3, Wait::Reconnect, 0);
        assert!((50 * MS..75 * MS).contains(&returns.next_ns()), "its second connect");
        returns.upgraded(3);
        returns.wait(3, Wait::Reconnect, 0);
        assert!((10 * MS..15 * MS).contains(&returns.next_ns()), "it begins anew");
        assert_eq!((returns.connection(3), returns.connection(4)), (4, 0));
    }

    #[test]
    fn who_has_arrived_or_ended_tries_no_more() {
        let (mut returns, pace) = (returns(), Pace::new(1e9, 1_000_000_000));
        for client in 0..3 {
            returns.leave(client, 5 + client as u64);
            returns.wait(client, Wait::Reconnect, 0);
        }
        assert_eq!((returns.arrive(1), returns.arrive(1), returns.arrive(9)), (Some(6), None, None));
        assert_eq!((returns.end(2), returns.end(2), returns.end(9)), (true, false, false));
        assert_eq!(returns.away().collect::<Vec<_>>(), [0]);
        assert_eq!(returns.pop_due(&pace, 1000 * MS), Some(0));
        assert_eq!((returns.pop_due(&pace, 1000 * MS), returns.next_ns()), (None, u64::MAX));
    }

    /// C27: the schedule has no place before the last arrival, and after it one at a time.
    #[test]
    fn tries_keep_to_the_places_that_arrivals_leave() {
        let mut returns = Returns { free_from_ns: 500 * MS, ..Returns::new(true, 7) };
        let pace = Pace::new(100.0, 1000);
        for client in 0..3 {
            returns.leave(client, 0);
            returns.wait(client, Wait::Reconnect, 0);
        }
        assert_eq!((returns.pop_due(&pace, 499 * MS), returns.next_ns()), (None, 500 * MS));
        assert_eq!(returns.pop_due(&pace, 500 * MS), Some(0));
        assert_eq!((returns.pop_due(&pace, 500 * MS), returns.next_ns()), (None, 506 * MS));
        assert_eq!(returns.pop_due(&pace, 506 * MS), Some(1));
    }
}
