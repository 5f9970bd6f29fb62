//! Stage timeouts. A stage's timeout is the same for every client, so the order of beginning is the order of expiry and a
//! queue does for a timer. Owned by a worker.

use std::collections::VecDeque;

use super::client::{Client, State};

/// Largest capacity that an empty queue keeps.
const KEPT_ENTRIES: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    since_ns: u64,
    client: u32,
    /// Which of the client's connections.
    connection: u32,
}

/// Clients in one stage, by when they entered it.
#[derive(Debug)]
pub(super) struct StageQueue {
    stage: State,
    timeout_ns: u64,
    entries: VecDeque<Entry>,
}

impl StageQueue {
    pub(super) fn new(stage: State, timeout_ns: u64) -> Self {
        Self { stage, timeout_ns, entries: VecDeque::new() }
    }

    /// A client enters the stage with one of its connections.
    pub(super) fn push(&mut self, client: usize, connection: u32, now_ns: u64) {
        self.entries.push_back(Entry { since_ns: now_ns, client: client as u32, connection });
    }

    /// The next client that is still in the stage, with the `connection` that it has now, and has been for too long.
    pub(super) fn pop_expired(
        &mut self,
        clients: &[Client],
        connection: impl Fn(usize) -> u32,
        now_ns: u64,
    ) -> Option<usize> {
        while let Some(entry) = self.entries.front() {
            let client = entry.client as usize;
            if clients[client].state != self.stage || connection(client) != entry.connection {
                self.entries.pop_front();
            } else if entry.since_ns + self.timeout_ns <= now_ns {
                self.entries.pop_front();
                return Some(client);
            } else {
                return None;
            }
        }
        if self.entries.capacity() > KEPT_ENTRIES {
            self.entries = VecDeque::new();
        }
        None
    }

    /// When the next one may expire.
    pub(super) fn next_ns(&self) -> u64 {
        self.entries.front().map_or(u64::MAX, |entry| entry.since_ns + self.timeout_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_still_in_the_stage_expire_and_in_order() {
        let mut clients: Vec<Client> = (0..3).map(|_| Client::gone()).collect();
        for client in &mut clients {
            client.state = State::Upgrading;
        }
        let mut queue = StageQueue::new(State::Upgrading, 10);
        for client in 0..3 {
            queue.push(client, 0, 100 + client as u64);
        }
        assert_eq!((queue.next_ns(), queue.pop_expired(&clients, |_| 0, 109)), (110, None));
        clients[0].state = State::Joining;
        assert_eq!(queue.pop_expired(&clients, |_| 0, 111), Some(1));
        clients[1].state = State::Gone;
        assert_eq!(queue.pop_expired(&clients, |_| 0, 111), None);
        assert_eq!(queue.pop_expired(&clients, |_| 0, 112), Some(2));
        assert_eq!((queue.pop_expired(&clients, |_| 0, 999), queue.next_ns()), (None, u64::MAX));
    }
    /// C27: what an earlier connection left in the queue says nothing about a later one.
    #[test]
    fn a_client_that_comes_back_has_its_whole_time_again() {
        let mut clients = vec![Client::gone()];
        clients[0].state = State::Joining;
        let mut queue = StageQueue::new(State::Joining, 10);
        queue.push(0, 0, 100);
        queue.push(0, 1, 105);
        assert_eq!(queue.pop_expired(&clients, |_| 1, 114), None);
        assert_eq!(queue.pop_expired(&clients, |_| 1, 115), Some(0));
    }
}
