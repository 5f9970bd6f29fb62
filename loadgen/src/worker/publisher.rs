//! The publisher: sends each broadcast when it is due and never waits for a reply, so a slow server is measured and not
//! spared. Part of the worker whose only client publishes.

use c2m_host::clock::monotonic_ns;
use c2m_protocol::stamp::Stamp;

use super::Worker;
use super::client::State;
use crate::ledger::due_of;

/// The worker's one client.
const CLIENT: usize = 0;
/// Broadcasts sent in one turn.
const BATCH: usize = 64;

/// How far the publisher has come.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    next: u32,
}

impl Worker {
    /// When the next broadcast is to be sent; never when there is none, or nobody who could send it.
    pub(super) fn next_publish_ns(&self) -> u64 {
        let (Some(publisher), Some(plan)) = (&self.publisher, self.ledger.plan()) else { return u64::MAX };
        let is_joined = self.clients.get(CLIENT).is_some_and(|client| client.state == State::Joined);
        if is_joined && publisher.next < plan.count { due_of(plan, publisher.next) } else { u64::MAX }
    }

    /// Sends every broadcast that is due. When the connection is gone they stay unsent, and all clients lack them.
    pub(super) fn publish_due(&mut self, mut now: u64) {
        for _ in 0..BATCH {
            let due_ns = self.next_publish_ns();
            let (Some(publisher), Some(plan)) = (&mut self.publisher, self.ledger.plan()) else { return };
            if due_ns > now {
                return;
            }
            let sequence = publisher.next;
            publisher.next += 1;
            let sent_ns = monotonic_ns();
            let mut payload = Vec::new();
            Stamp { sequence, due_ns, sent_ns }.encode(&mut payload, plan.payload_bytes as usize);
            let payload = String::from_utf8(payload).expect("a stamp is ASCII");
            self.latencies.publish_lag.record_span(due_ns, sent_ns);
            self.shared.aggregate.sent(sequence, sent_ns);
            self.text.clear();
            self.shared.target.write_push(&mut self.text, sequence, &payload);
            self.send_text(CLIENT);
            now = monotonic_ns();
        }
    }
}
