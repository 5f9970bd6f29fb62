//! Coming back after a loss: what a client does next, how long it waits, and how fast all of them may. Pure but for the
//! one atomic number of a [`Pace`].
//!
//! The waits are those of the official client (phoenix.js 1.8, `reconnectAfterMs` and `rejoinAfterMs`), each made longer
//! by up to half of itself, so that clients that were lost together don't come back together. On top of that no more
//! connect than the arrival schedule allows: clients that come back take the places that it has after the last arrival.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::schedule::ArrivalSchedule;
use crate::stats::Kind;

const RECONNECT_AFTER_MS: [u64; 9] = [10, 50, 100, 150, 200, 250, 500, 1000, 2000];
const RECONNECT_AFTER_LAST_MS: u64 = 5000;
const REJOIN_AFTER_MS: [u64; 3] = [1000, 2000, 5000];
const REJOIN_AFTER_LAST_MS: u64 = 10_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: f64 = 1e9;

/// Close code after which the official client stays away.
const CLOSE_NORMAL: i64 = 1000;

/// What a client that was joined once does after a loss or a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It connects again.
    Reconnect,
    /// Its connection stands; it joins again.
    Rejoin,
    /// It was refused, which no further try would change.
    Refused,
    /// It stays away: the server ended it in order.
    Over,
}

/// What follows a loss of this kind and code.
pub fn next(kind: Kind, code: i64) -> Next {
    match (kind, code) {
        (Kind::Closed | Kind::JoinClosed, CLOSE_NORMAL) | (Kind::ChannelClosed, _) => Next::Over,
        (Kind::HttpRefused, 400..=499) => Next::Refused,
        (Kind::ChannelError | Kind::JoinRejected, _) => Next::Rejoin,
        _ => Next::Reconnect,
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next connect.
    Reconnect,
    /// The next join on a connection that stands.
    Rejoin,
}

impl Wait {
    /// How long before try number `tries`, from 1, in nanoseconds; `random` is any number.
    pub fn ns(self, tries: u32, random: u64) -> u64 {
        let official_ns = self.official_ms(tries) * NS_PER_MS;
        let jitter_ns = (u128::from(official_ns / 2) * u128::from(random)) >> 64;
        official_ns + jitter_ns as u64
    }

    fn official_ms(self, tries: u32) -> u64 {
        let (first, last) = match self {
            Self::Reconnect => (&RECONNECT_AFTER_MS[..], RECONNECT_AFTER_LAST_MS),
            Self::Rejoin => (&REJOIN_AFTER_MS[..], REJOIN_AFTER_LAST_MS),
        };
        first.get((tries as usize).saturating_sub(1)).copied().unwrap_or(last)
    }
}

/// How fast an agent's clients may come back, all threads together: no faster than they arrive, and no more than a tenth
/// of them in 100 ms.
#[derive(Debug)]
pub struct Pace {
    between_ns: u64,
    /// When the next one's turn is.
    next_ns: AtomicU64,
}

impl Pace {
    /// How far ahead of its turn one may go. A thread wakes by the millisecond, and what it then may do at once would
    /// otherwise be one.
    const AHEAD_NS: u64 = 5 * NS_PER_MS;
    /// Turns are further apart than the rate says, so that even with that no 100 ms hold more than its share.
    const APART: f64 = 1.1;

    /// For `clients` that arrive at `rate_per_s`.
    pub fn new(rate_per_s: f64, clients: u64) -> Self {
        let between_ns = (NS_PER_S * Self::APART / rate_per_s.min(clients as f64)).ceil() as u64;
        Self { between_ns, next_ns: AtomicU64::new(0) }
    }

    /// Takes a turn, if there is one now. Errors: when to ask again.
    pub fn take(&self, now_ns: u64) -> Result<(), u64> {
        let after = |next_ns: u64| {
            let is_free = next_ns <= now_ns + Self::AHEAD_NS;
            is_free.then(|| next_ns.max(now_ns) + self.between_ns)
        };
        let taken = self.next_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        taken.map(drop).map_err(|next_ns| next_ns - Self::AHEAD_NS)
    }
}

/// What an agent's threads share of this.
#[derive(Debug)]
pub struct Reconnect {
    /// For all of its clients.
    pub pace: Pace,
    /// When the last client is due to arrive, after the start: the schedule has no place free before.
    pub free_after_ns: u64,
}

impl Reconnect {
    /// For `clients` that arrive by `schedule`.
    pub fn new(schedule: &ArrivalSchedule, clients: u64) -> Self {
        let last = clients.saturating_sub(1);
        let pace = Pace::new(schedule.slowest_rate_after(last), clients);
        Self { pace, free_after_ns: schedule.due_offset_ns(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use c2m_schema::control::ArrivalPhase;
    use proptest::prelude::*;

    /// phoenix.js 1.8.12, `socket.js`: the tables of `reconnectAfterMs` and `rejoinAfterMs`.
    #[test]
    fn waits_are_the_official_ones_and_at_most_half_as_long_again() {
        let reconnect = [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000, 5000];
        let rejoin = [1000, 2000, 5000, 10_000, 10_000];
        for (wait, table) in [(Wait::Reconnect, &reconnect[..]), (Wait::Rejoin, &rejoin[..])] {
            for (tries, &ms) in (1..).zip(table) {
                assert_eq!(wait.ns(tries, 0), ms * NS_PER_MS, "{wait:?} {tries}");
                assert_eq!(wait.ns(tries, 1 << 63), ms * NS_PER_MS * 5 / 4, "{wait:?} {tries}");
                assert_eq!(wait.ns(tries, u64::MAX), ms * NS_PER_MS * 3 / 2 - 1, "{wait:?} {tries}");
            }
        }
        assert_eq!(Wait::Reconnect.ns(u32::MAX, 0), 5000 * NS_PER_MS);
    }

    #[test]
    fn what_follows_is_told_by_kind_and_code() {
        for (kind, code, expected) in [
            (Kind::Closed, 1000, Next::Over),
            (Kind::JoinClosed, 1000, Next::Over),
            (Kind::ChannelClosed, 0, Next::Over),
            (Kind::Closed, 1001, Next::Reconnect),
            (Kind::Closed, 1005, Next::Reconnect),
            (Kind::Closed, 1009, Next::Reconnect),
            (Kind::Closed, 1012, Next::Reconnect),
            (Kind::Closed, 1013, Next::Reconnect),
            (Kind::JoinClosed, 104, Next::Reconnect),
            (Kind::Eof, 0, Next::Reconnect),
            (Kind::Reset, 104, Next::Reconnect),
            (Kind::HeartbeatTimeout, 0, Next::Reconnect),
            (Kind::Connect, 111, Next::Reconnect),
            (Kind::ConnectTimeout, 0, Next::Reconnect),
            (Kind::UpgradeTimeout, 0, Next::Reconnect),
            (Kind::JoinTimeout, 0, Next::Reconnect),
            (Kind::HttpRefused, 399, Next::Reconnect),
            (Kind::HttpRefused, 400, Next::Refused),
            (Kind::HttpRefused, 403, Next::Refused),
            (Kind::HttpRefused, 499, Next::Refused),
            (Kind::HttpRefused, 503, Next::Reconnect),
            (Kind::ChannelError, 0, Next::Rejoin),
            (Kind::JoinRejected, 0, Next::Rejoin),
        ] {
            assert_eq!(next(kind, code), expected, "{kind:?} {code}");
        }
    }

    #[test]
    fn turns_are_apart_and_a_thread_that_wakes_late_gets_few_at_once() {
        // A turn every 1.1 ms.
        let pace = Pace::new(1000.0, 5000);
        let now = 1_000_000_000;
        let at_once = (0..100).take_while(|_| pace.take(now).is_ok()).count();
        assert_eq!(at_once, 5, "the first, and those due in the next 5 ms");
        assert_eq!(pace.take(now), Err(now + 500_000));
        assert_eq!(pace.take(now + 499_999), Err(now + 500_000));
        assert_eq!(pace.take(now + 500_000), Ok(()));
        let later = now + 3_600_000_000_000;
        assert_eq!((0..100).take_while(|_| pace.take(later).is_ok()).count(), 5, "an hour of rest is not saved up");
    }

    #[test]
    fn the_slower_of_arrivals_and_a_tenth_in_100_ms_counts() {
        assert_eq!(Pace::new(10_000.0, 2000).between_ns, 550_000);
        assert_eq!(Pace::new(1000.0, 2000).between_ns, 1_100_000);
        let phase = |seconds, rate_per_s| ArrivalPhase { seconds, rate_per_s };
        let schedule = ArrivalSchedule::new(&[phase(Some(1.0), 10.0), phase(None, 1000.0)]).unwrap();
        let reconnect = Reconnect::new(&schedule, 5);
        assert_eq!((reconnect.free_after_ns, reconnect.pace.between_ns), (400_000_000, 220_000_000));
        let reconnect = Reconnect::new(&schedule, 2010);
        assert_eq!((reconnect.free_after_ns, reconnect.pace.between_ns), (2_999_000_000, 1_100_000));
    }

    proptest! {
        /// C27: however threads ask, no second has more turns than arrivals and no 100 ms more than a tenth of the clients.
        #[test]
        fn no_window_holds_more_than_its_share(
            rate in 1u64..20_000, clients in 10u64..5000, waits in prop::collection::vec(0u64..40_000_000, 1..400)) {
            let pace = Pace::new(rate as f64, clients);
            let (mut now, mut taken) = (1_000_000_000, Vec::new());
            for wait in waits {
                while pace.take(now).is_ok() {
                    taken.push(now);
                }
                now += wait;
            }
            for (at, &from) in taken.iter().enumerate() {
                let within = |ns: u64| taken[at..].iter().take_while(|&&turn| turn < from + ns).count() as u64;
                prop_assert!(within(1_000_000_000) <= rate);
                prop_assert!(within(100_000_000) <= clients.div_ceil(10));
            }
        }
    }
}
