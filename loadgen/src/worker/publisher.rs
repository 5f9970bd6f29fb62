//! Publishing: each broadcast is sent when it is due, and no reply is waited for, so a slow server is measured and not
//! spared. In one room the agent's first client sends all of them, from a worker of its own. With many rooms each is sent
//! by a member of its room, from the worker that holds it.

use c2m_host::clock::monotonic_ns;
use c2m_protocol::stamp::Stamp;

use super::Worker;
use super::client::State;
use crate::ledger::due_of;

/// Broadcasts sent in one turn.
const BATCH: usize = 64;

/// Which broadcasts a worker sends, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    /// Sequence, and number of the client that sends it; by sequence.
    turns: Vec<(u32, u32)>,
    next: usize,
}

impl Publisher {
    pub(super) fn new(turns: Vec<(u32, u32)>) -> Self {
        Self { turns, next: 0 }
    }

    /// Whether the client `at` sends this broadcast.
    pub(super) fn sends(&self, sequence: u32, at: usize) -> bool {
        let found = self.turns.binary_search_by_key(&sequence, |&(sequence, _)| sequence);
        found.is_ok_and(|turn| self.turns[turn].1 as usize == at)
    }
}

impl Worker {
    /// The broadcasts, of `count`, that this worker's clients send.
    pub(super) fn turns(&self, count: u32) -> Vec<(u32, u32)> {
        let turn = |sequence| {
            let at = match &self.shared.target.rooms {
                None => self.share.publishes.then_some(0)?,
                Some(rooms) => self.share.at(rooms.local(rooms.speaker(sequence))?)?,
            };
            Some((sequence, at as u32))
        };
        (0..count).filter_map(turn).collect()
    }

    /// When the next broadcast of this worker is due; never when there is none.
    pub(super) fn next_publish_ns(&self) -> u64 {
        let turn = self.publisher.turns.get(self.publisher.next);
        let due = turn.and_then(|&(sequence, _)| Some(due_of(self.ledger.plan()?, sequence)));
        due.unwrap_or(u64::MAX)
    }

    /// Sends every broadcast that is due. One whose sender is not joined is never sent, and all its receivers lack it.
    pub(super) fn publish_due(&mut self, mut now: u64) {
        for _ in 0..BATCH {
            let due_ns = self.next_publish_ns();
            if due_ns > now {
                return;
            }
            let (Some(&(sequence, at)), Some(plan)) =
                (self.publisher.turns.get(self.publisher.next), self.ledger.plan())
            else {
                return;
            };
            self.publisher.next += 1;
            let at = at as usize;
            if self.clients.get(at).is_none_or(|client| client.state != State::Joined) {
                if self.returns.is_away(at) {
                    self.shared.aggregate.not_sent(sequence);
                }
                continue;
            }
            let sent_ns = monotonic_ns();
            let mut payload = Vec::new();
            let stamp = Stamp { sequence, due_ns: plan.stamped_ns(due_ns), sent_ns: plan.stamped_ns(sent_ns) };
            stamp.encode(&mut payload, plan.payload_bytes as usize);
            let payload = String::from_utf8(payload).expect("a stamp is ASCII");
            self.latencies.publish_lag.record_span(due_ns, sent_ns);
            self.shared.aggregate.sent(sequence, sent_ns);
            self.text.clear();
            let index = self.index(at);
            self.shared.target.write_push(&mut self.text, index, sequence, &payload);
            self.send_text(at);
            now = monotonic_ns();
        }
    }
}
