//! Broadcasts. The sender has its copy at once, before its reply, as in Phoenix. The other members of a shard are served
//! by a walk that goes on between other work, a bounded number of sends per turn of the loop; topics with walks take
//! turns, walks of one topic go one after another, so that every member gets a topic's broadcasts in the shard's order.

use std::sync::Arc;

use c2m_protocol::phoenix::Serializer;

use super::Shard;
use super::connection::State;
use crate::broadcast::Broadcast;

/// Sends of one turn of the loop: some 2 ms.
const SENDS_PER_TURN: usize = 256;
/// Sends to one topic before the next has its turn.
const SENDS_PER_TOPIC: usize = 64;

impl Shard {
    /// Broadcasts to the topic of a membership of `index`. Refused, and nothing sent, when too many are in flight.
    pub(crate) fn publish(&mut self, index: u32, number: u32, event: &str, payload: &str) -> bool {
        let Some(membership) = self.memberships.get(number) else { return false };
        let (topic, position) = (membership.topic, membership.position);
        let Some(permit) = self.shared.bus.permit() else { return false };
        let Some(name) = self.topics.name(topic) else { return false };
        let broadcast = Arc::new(Broadcast::new(permit, name, event, payload));
        self.counters.broadcasts += 1;
        self.flush_reply(index);
        // What is under way to the sender comes first, or it would have this topic's broadcasts out of order.
        let waiting: Vec<Arc<Broadcast>> = self
            .topics
            .walks_mut(topic)
            .filter_map(|walk| walk.serve(number, position).then(|| Arc::clone(&walk.broadcast)))
            .collect();
        for earlier in waiting {
            self.deliver_broadcast(index, &earlier);
        }
        self.shared.bus.post(self.id, &broadcast);
        self.deliver_broadcast(index, &broadcast);
        self.begin_walk(topic, broadcast, Some(number));
        true
    }

    /// Begins the walks of broadcasts from other shards.
    pub(crate) fn take_mailbox(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.bus.take(self.id, |broadcast| {
            if let Some(topic) = self.topics.find(&broadcast.topic) {
                self.begin_walk(topic, broadcast, None);
            }
        });
    }

    fn begin_walk(&mut self, topic: u32, broadcast: Arc<Broadcast>, served: Option<u32>) {
        if self.topics.begin_walk(topic, broadcast, served) {
            self.rotation.push_back(topic);
        }
    }

    /// Serves some members of the topics in rotation.
    pub(crate) fn walk_step(&mut self) {
        let mut sends = 0;
        while sends < SENDS_PER_TURN
            && let Some(topic) = self.rotation.pop_front()
        {
            let (sent, is_through) = self.walk_topic(topic);
            // An empty walk takes its time as well.
            sends += sent.max(1);
            let goes_on = !is_through || {
                let mut moved = std::mem::take(&mut self.moved);
                let more = self.topics.end_walk(topic, &mut moved);
                moved.drain(..).for_each(|moved| self.follow(moved));
                self.moved = moved;
                more
            };
            if goes_on {
                self.rotation.push_back(topic);
            }
        }
    }

    /// One step of a topic's current walk: how many members were served, and whether it is through.
    fn walk_topic(&mut self, topic: u32) -> (usize, bool) {
        let Some(broadcast) = self.topics.current(topic).cloned() else { return (0, true) };
        for sent in 0..SENDS_PER_TOPIC {
            let Some(number) = self.topics.step(topic) else { return (sent, true) };
            if let Some(membership) = self.memberships.get(number) {
                self.deliver_broadcast(membership.connection, &broadcast);
            }
        }
        (SENDS_PER_TOPIC, false)
    }

    fn deliver_broadcast(&mut self, index: u32, broadcast: &Broadcast) {
        if let Some(serializer) = self.serializer(index) {
            self.deliver(index, broadcast.frame(serializer));
        }
    }

    fn serializer(&self, index: u32) -> Option<Serializer> {
        match self.connections.get(index)?.state {
            State::Phoenix(serializer) => Some(serializer),
            _ => None,
        }
    }
}
