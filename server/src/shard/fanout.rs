//! Broadcasts. The sender has its copy at once, before its reply, as in Phoenix. The other members of a shard are served
//! by a walk that goes on between other work, a bounded number of sends per turn of the loop; topics with walks take
//! turns, walks of one topic go one after another, so that every member gets a topic's broadcasts in the shard's order.

use std::borrow::Cow;
use std::sync::Arc;

use c2m_protocol::phoenix::Serializer;
use compact_str::CompactString;

use super::Shard;
use super::connection::{NONE, State};
use crate::broadcast::Broadcast;
use crate::channel::{Body, MemberId};
use crate::session::{Refused, Session as _};

/// Sends of one turn of the loop: some 2 ms.
const SENDS_PER_TURN: usize = 256;
/// Sends to one topic before the next has its turn.
const SENDS_PER_TOPIC: usize = 64;
/// Broadcasts that may wait for their turn in one shard.
const WAITING_MAX: usize = 65_536;

/// A broadcast that waits until fewer are under way.
pub(crate) struct Waiting {
    topic: CompactString,
    event: CompactString,
    body: Body<'static>,
    not_to: Option<MemberId>,
}

impl Shard {
    /// Broadcasts to the topic of a member of connection `index`: to the member itself at once, if `to_self`.
    pub(super) fn broadcast(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: &Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        // What waits comes first, or a member's broadcasts would be out of order.
        if !self.waiting.is_empty() {
            return Err(Refused::Overloaded);
        }
        let number = member.membership;
        let Some(membership) = self.memberships.get(number) else { return Ok(()) };
        let (topic, position) = (membership.topic, membership.position);
        let Some(name) = self.topics.name(topic) else { return Ok(()) };
        let permit = self.shared.bus.permit().ok_or(Refused::Overloaded)?;
        let broadcast = Arc::new(Broadcast::new(permit, name, event, body).ok_or(Refused::Unencodable)?);
        if to_self {
            self.flush_reply(index);
            // What is under way to the sender comes first, or it would have this topic's broadcasts out of order.
            let earlier: Vec<Arc<Broadcast>> = self
                .topics
                .walks_mut(topic)
                .filter_map(|walk| walk.serve(number, position).then(|| Arc::clone(&walk.broadcast)))
                .collect();
            for earlier in earlier {
                self.deliver_broadcast(index, &earlier);
                earlier.add_reached(1);
            }
            self.deliver_broadcast(index, &broadcast);
            broadcast.add_reached(1);
        }
        self.post(broadcast, topic, Some(number));
        Ok(())
    }

    /// As [`Shard::broadcast`], but with too many broadcasts under way this one waits for its turn.
    pub(super) fn broadcast_or_wait(
        &mut self,
        index: u32,
        member: MemberId,
        event: &str,
        body: Body<'_>,
        to_self: bool,
    ) -> Result<(), Refused> {
        let refused = match self.broadcast(index, member, event, &body, to_self) {
            Err(Refused::Overloaded) => Refused::Overloaded,
            done => return done,
        };
        let Some(membership) = self.memberships.get(member.membership) else { return Ok(()) };
        let Some(topic) = self.topics.name(membership.topic).map(CompactString::from) else { return Ok(()) };
        if self.waiting.len() == WAITING_MAX {
            return Err(refused);
        }
        let body = match body {
            Body::Json(json) => Body::Json(Cow::Owned(json.into_owned())),
            Body::Binary(data) => Body::Binary(Cow::Owned(data.into_owned())),
        };
        self.waiting.push_back(Waiting { topic, event: event.into(), body, not_to: (!to_self).then_some(member) });
        Ok(())
    }

    /// Begins broadcasts that wait, as far as there is room.
    pub(crate) fn wait_step(&mut self) {
        while !self.waiting.is_empty()
            && let Some(permit) = self.shared.bus.permit()
            && let Some(Waiting { topic, event, body, not_to }) = self.waiting.pop_front()
        {
            // It was looked at when it was first tried.
            let Some(broadcast) = Broadcast::new(permit, &topic, &event, &body).map(Arc::new) else { continue };
            let not_to = not_to.filter(|member| self.member_id(member.membership) == Some(*member));
            let topic = self.topics.find(&topic).unwrap_or(NONE);
            self.post(broadcast, topic, not_to.map(|member| member.membership));
        }
    }

    fn post(&mut self, broadcast: Arc<Broadcast>, topic: u32, served: Option<u32>) {
        self.counters.broadcasts += 1;
        self.shared.bus.post(Some(self.id), &broadcast);
        if let Some(backplane) = &self.shared.backplane {
            backplane.offer(&broadcast);
        }
        self.begin_walk(topic, broadcast, served);
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
        let mut sent = 0;
        while sent < SENDS_PER_TOPIC
            && let Some(number) = self.topics.step(topic)
        {
            if let Some(membership) = self.memberships.get(number) {
                self.deliver_broadcast(membership.connection, &broadcast);
            }
            sent += 1;
        }
        broadcast.add_reached(sent);
        (sent, sent < SENDS_PER_TOPIC)
    }

    fn deliver_broadcast(&mut self, index: u32, broadcast: &Broadcast) {
        if let Some(serializer) = self.serializer(index)
            && let Some(frame) = broadcast.frame(serializer)
        {
            #[cfg(feature = "slow-fanout")]
            waste_time();
            self.deliver(index, frame);
        }
    }

    /// How a client's messages are written, while there are any.
    pub(crate) fn serializer(&self, index: u32) -> Option<Serializer> {
        match self.connections.get(index)?.state {
            State::Phoenix(serializer) => Some(serializer),
            _ => None,
        }
    }
}

/// What a delivery takes more in a build that is to be found slower: about a third of what both ends take for one.
#[cfg(feature = "slow-fanout")]
fn waste_time() {
    const EXTRA_NS: u64 = 3_000;
    let until_ns = c2m_host::clock::monotonic_ns() + EXTRA_NS;
    while c2m_host::clock::monotonic_ns() < until_ns {
        std::hint::spin_loop();
    }
}
