//! Heartbeats: a client's *k*-th is due at its join plus *k* intervals. The interval and the timeout are the same for
//! every client, so two queues do for timers, at four bytes per client at rest.

use std::collections::{HashMap, VecDeque};

use c2m_host::clock::monotonic_ns;

use super::Worker;
use super::client::{Client, State};
use crate::stats::Kind;

/// Longest interval: due times are kept as wrapping microseconds, whose order is known over 35 minutes.
pub(crate) const INTERVAL_MAX_MS: u64 = 30 * 60 * 1000;

/// Heartbeats sent in one turn, so that a worker that is behind still serves its clients.
const BATCH: usize = 256;
const KEPT_ENTRIES: usize = 1024;
const NS_PER_DS: u64 = 100_000_000;

/// Who sends the next heartbeat, and who waits for an answer.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// 0: none.
    interval_us: u32,
    timeout_ns: u64,
    measure_from_us: Option<u32>,
    /// Joined clients by due time, and some that are gone.
    due: VecDeque<u32>,
    /// How many entries in `due` are of earlier joins of a client. They stand before its own.
    stale: HashMap<u32, u32>,
    unanswered: VecDeque<Unanswered>,
}

#[derive(Clone, Copy, Debug)]
struct Unanswered {
    since_ns: u64,
    client: u32,
    beat: u16,
}

/// Wrapping microseconds; differences are exact and signed.
fn to_us(ns: u64) -> u32 {
    (ns / 1000) as u32
}

/// Wrapping tenths of a second.
fn to_ds(ns: u64) -> u16 {
    (ns / NS_PER_DS) as u16
}

/// Nanoseconds from `from` to `to`; none when it is negative.
fn since(from_us: u32, to_us: u32) -> Option<u64> {
    u64::try_from(to_us.wrapping_sub(from_us) as i32).ok().map(|us| us * 1000)
}

impl Heartbeats {
    /// For `clients` clients; pages of the queue that none has come to yet are not touched.
    pub(super) fn new(interval_ns: u64, timeout_ns: u64, clients: u64) -> Self {
        Self {
            interval_us: to_us(interval_ns),
            timeout_ns,
            measure_from_us: None,
            due: VecDeque::with_capacity(if interval_ns > 0 { clients as usize } else { 0 }),
            stale: HashMap::new(),
            unanswered: VecDeque::new(),
        }
    }

    pub(super) fn measure_from(&mut self, ns: u64) {
        self.measure_from_us = Some(to_us(ns));
    }

    /// A client was joined. What it was not answered before a loss is no longer waited for.
    pub(super) fn begin(&mut self, clients: &mut [Client], at: usize, now_ns: u64) {
        let client = &mut clients[at];
        client.beat_us = to_us(now_ns);
        (client.beats_answered, client.heard) = (client.beats, false);
        if self.interval_us > 0 {
            self.due.push_back(at as u32);
        }
    }

    /// A joined client was lost and may be joined again.
    pub(super) fn forget(&mut self, at: usize) {
        if self.interval_us > 0 {
            *self.stale.entry(at as u32).or_default() += 1;
        }
    }

    /// Whether the entry of `due` just taken is of an earlier join.
    fn is_stale(&mut self, at: u32) -> bool {
        // Most runs have none at all.
        if self.stale.is_empty() {
            return false;
        }
        let Some(entries) = self.stale.get_mut(&at) else { return false };
        *entries -= 1;
        if *entries == 0 {
            self.stale.remove(&at);
        }
        true
    }

    /// When the next heartbeat is due or may expire.
    pub(super) fn next_ns(&self, clients: &[Client], now_ns: u64) -> u64 {
        let due = self.due.front().map_or(u64::MAX, |&at| {
            let due_us = clients[at as usize].beat_us.wrapping_add(self.interval_us);
            now_ns + since(to_us(now_ns), due_us).unwrap_or(0)
        });
        due.min(self.unanswered.front().map_or(u64::MAX, |waiting| waiting.since_ns + self.timeout_ns))
    }

    /// The next client whose heartbeat is due, and since how long.
    fn pop_due(&mut self, clients: &[Client], now_ns: u64) -> Option<(usize, u64)> {
        while let Some(&at) = self.due.front() {
            let client = &clients[at as usize];
            if self.is_stale(at) || client.state != State::Joined {
                self.due.pop_front();
                continue;
            }
            let lag = since(client.beat_us.wrapping_add(self.interval_us), to_us(now_ns))?;
            self.due.pop_front();
            return Some((at as usize, lag));
        }
        None
    }

    /// The next client that has waited too long for an answer.
    fn pop_expired(&mut self, clients: &[Client], now_ns: u64) -> Option<usize> {
        while let Some(&waiting) = self.unanswered.front() {
            let client = &clients[waiting.client as usize];
            let is_answered = client.beats_answered.wrapping_sub(waiting.beat) as i16 >= 0;
            if client.state == State::Joined && !is_answered {
                if waiting.since_ns + self.timeout_ns > now_ns {
                    return None;
                }
                self.unanswered.pop_front();
                let silent_ns = u64::from(to_ds(now_ns).wrapping_sub(client.heard_ds)) * NS_PER_DS;
                if !client.heard || silent_ns > self.timeout_ns {
                    return Some(waiting.client as usize);
                }
                // A ping or pong shows that the server lives (C09): the newest heartbeat gets another timeout.
                if waiting.beat == client.beats {
                    self.unanswered.push_back(Unanswered { since_ns: now_ns, ..waiting });
                }
                continue;
            }
            self.unanswered.pop_front();
        }
        if self.unanswered.capacity() > KEPT_ENTRIES {
            self.unanswered = VecDeque::new();
        }
        None
    }
}

impl Worker {
    /// A ping or pong came: the server lives.
    pub(super) fn heard(&mut self, at: usize) {
        let client = &mut self.clients[at];
        (client.heard, client.heard_ds) = (true, to_ds(monotonic_ns()));
    }

    pub(super) fn send_due_heartbeats(&mut self, now: u64) {
        for _ in 0..BATCH {
            let Some((at, lag_ns)) = self.heartbeats.pop_due(&self.clients, now) else { return };
            self.latencies.heartbeat_lag.record(lag_ns);
            let client = &mut self.clients[at];
            client.beat_us = client.beat_us.wrapping_add(self.heartbeats.interval_us);
            // What was heard before this one was sent says nothing about it.
            client.heard &= client.beats != client.beats_answered;
            client.beats = client.beats.wrapping_add(1);
            let beat = client.beats;
            self.counters.heartbeats += 1;
            self.heartbeats.due.push_back(at as u32);
            if !self.is_slow(at) {
                let waiting = Unanswered { since_ns: monotonic_ns(), client: at as u32, beat };
                self.heartbeats.unanswered.push_back(waiting);
            }
            self.text.clear();
            // The join has ref 1.
            self.shared.target.write_heartbeat(&mut self.text, u32::from(beat) + 1);
            self.send_text(at);
        }
    }

    /// A reply on the topic of heartbeats came. Only one that names a heartbeat not yet answered counts (C08).
    pub(super) fn heartbeat_answered(&mut self, at: usize, number: u32) {
        let client = &mut self.clients[at];
        let Some(beat) = number.checked_sub(1).and_then(|beat| u16::try_from(beat).ok()) else { return };
        let behind = client.beats.wrapping_sub(beat);
        let is_new = beat.wrapping_sub(client.beats_answered) as i16 > 0;
        if client.state != State::Joined || !is_new || (behind as i16) < 0 {
            return;
        }
        client.beats_answered = beat;
        self.counters.heartbeat_replies += 1;
        let due_us = client.beat_us.wrapping_sub(u32::from(behind).wrapping_mul(self.heartbeats.interval_us));
        let Some(latency) = since(due_us, to_us(monotonic_ns())) else { return };
        let is_ramp = self.heartbeats.measure_from_us.is_some_and(|from| since(from, due_us).is_none());
        let latencies = &mut self.latencies;
        let recorder = if is_ramp { &mut latencies.heartbeat_ramp } else { &mut latencies.heartbeat };
        recorder.record(latency);
    }

    pub(super) fn expire_heartbeats(&mut self, now: u64) {
        while let Some(at) = self.heartbeats.pop_expired(&self.clients, now) {
            self.lose(at, Kind::HeartbeatTimeout, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> Client {
        Client { state: State::Joined, ..Client::gone() }
    }

    #[test]
    fn due_times_step_by_the_interval_across_the_wrap_of_the_clock() {
        let begin_ns = (u64::from(u32::MAX) - 500_000) * 1000;
        let mut heartbeats = Heartbeats::new(1_000_000_000, 1, 1);
        let mut clients = vec![joined()];
        heartbeats.begin(&mut clients, 0, begin_ns);
        assert_eq!(heartbeats.next_ns(&clients, begin_ns), begin_ns + 1_000_000_000);
        assert_eq!(heartbeats.pop_due(&clients, begin_ns + 999_999_000), None);
        assert_eq!(heartbeats.pop_due(&clients, begin_ns + 1_000_005_000), Some((0, 5_000)));
    }

    /// C27: a client that comes back has one heartbeat an interval, counted from its new join, and old ones expire no more.
    #[test]
    fn a_client_that_comes_back_begins_anew() {
        const S: u64 = 1_000_000_000;
        let mut heartbeats = Heartbeats::new(S, S, 2);
        let mut clients = vec![joined(), joined()];
        heartbeats.begin(&mut clients, 0, 0);
        heartbeats.begin(&mut clients, 1, S / 2);
        clients[0].beats = 1;
        heartbeats.unanswered.push_back(Unanswered { since_ns: 0, client: 0, beat: 1 });
        for lost in 0..2 {
            clients[0].state = State::Away;
            heartbeats.forget(0);
            clients[0].state = State::Joined;
            heartbeats.begin(&mut clients, 0, S * 3 / 4 + lost);
        }
        assert_eq!(heartbeats.pop_expired(&clients, 5 * S), None);
        assert_eq!(heartbeats.pop_due(&clients, S), None, "the other one is not due yet, and stands first");
        assert_eq!(heartbeats.pop_due(&clients, S * 3 / 2), Some((1, 0)));
        assert_eq!(heartbeats.pop_due(&clients, S * 7 / 4), Some((0, 0)));
        assert!(heartbeats.due.is_empty() && heartbeats.stale.is_empty());
    }

    #[test]
    fn without_an_interval_nobody_is_queued() {
        let mut heartbeats = Heartbeats::new(0, 1, 1);
        heartbeats.begin(&mut [joined()], 0, 5);
        assert_eq!(heartbeats.next_ns(&[], 5), u64::MAX);
    }

    /// C08 and C09: an unanswered heartbeat ends a client one timeout after it was sent, unless a control frame came.
    #[test]
    fn an_unanswered_heartbeat_expires_and_an_answered_one_does_not() {
        const TIMEOUT: u64 = 1_000_000_000;
        let mut heartbeats = Heartbeats::new(1_000_000_000, TIMEOUT, 3);
        let mut clients = vec![joined(), joined(), joined()];
        for (at, client) in clients.iter_mut().enumerate() {
            client.beats = 1;
            heartbeats.unanswered.push_back(Unanswered { since_ns: 10 + at as u64, client: at as u32, beat: 1 });
        }
        assert_eq!(heartbeats.pop_expired(&clients, TIMEOUT + 9), None);
        clients[0].beats_answered = 1;
        (clients[1].heard, clients[1].heard_ds) = (true, 5);
        assert_eq!(heartbeats.pop_expired(&clients, TIMEOUT + 12), Some(2));
        assert_eq!(heartbeats.pop_expired(&clients, 2 * TIMEOUT + 11), None);
        assert_eq!(heartbeats.pop_expired(&clients, 2 * TIMEOUT + 12), Some(1), "silent for more than a timeout");
        assert!(heartbeats.unanswered.is_empty());
    }
}
