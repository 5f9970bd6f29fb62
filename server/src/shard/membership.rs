//! Joins and leaves in the shard's tables: the slab of memberships, the chain that hangs on a connection, the member
//! list of the topic.

use c2m_protocol::phoenix::Message;

use super::Shard;
use super::connection::{Membership, NONE};
use super::topics::Moved;
use crate::session::Calls as _;

impl Shard {
    /// The membership of a connection in a topic.
    pub(super) fn membership_in(&self, index: u32, topic: &str) -> Option<u32> {
        let mut number = self.connections.get(index)?.memberships;
        if number == NONE {
            return None;
        }
        let topic = self.topics.find(topic)?;
        while number != NONE {
            let membership = self.memberships.get(number)?;
            if membership.topic == topic {
                return Some(number);
            }
            number = membership.next;
        }
        None
    }

    /// Makes a connection a member of the topic of its join; gives the membership.
    pub(super) fn join(&mut self, index: u32, join: &Message<'_>) -> Option<u32> {
        // A broadcast that another shard has posted before this join is not for the newcomer.
        self.take_mailbox();
        let connection = self.connections.get_mut(index)?;
        let joined_with_null = join.join_ref.is_null();
        let join_ref = if joined_with_null { &join.reference } else { &join.join_ref };
        let number = self.memberships.insert(Membership {
            connection: index,
            topic: 0,
            position: 0,
            next: connection.memberships,
            join_ref: join_ref.clone(),
            generation: self.counters.joins as u32,
            joined_with_null,
        });
        connection.memberships = number;
        connection.membership_count += 1;
        let (topic, position) = self.topics.add(&join.topic, number);
        if let Some(membership) = self.memberships.get_mut(number) {
            (membership.topic, membership.position) = (topic, position);
        }
        self.counters.joined += 1;
        self.counters.joins += 1;
        Some(number)
    }

    /// Takes a membership out of the tables.
    pub(crate) fn leave(&mut self, index: u32, number: u32) -> Option<Membership> {
        let membership = self.memberships.remove(number)?;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.membership_count -= 1;
            if connection.memberships == number {
                connection.memberships = membership.next;
            } else {
                let mut at = connection.memberships;
                while let Some(before) = self.memberships.get_mut(at) {
                    if before.next == number {
                        before.next = membership.next;
                        break;
                    }
                    at = before.next;
                }
            }
        }
        self.forget_member(&membership);
        Some(membership)
    }

    /// Ends all memberships of a connection to which nothing can be said any more.
    pub(crate) fn leave_all(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let mut number = connection.memberships;
        while let Some(membership) = self.memberships.get(number) {
            let next = membership.next;
            self.terminate(index, None, number);
            number = next;
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.membership_count = 0;
        let mut number = std::mem::replace(&mut connection.memberships, NONE);
        while let Some(membership) = self.memberships.remove(number) {
            number = membership.next;
            self.forget_member(&membership);
        }
    }

    fn forget_member(&mut self, membership: &Membership) {
        self.counters.joined -= 1;
        if let Some(moved) = self.topics.remove(membership.topic, membership.position) {
            self.follow(moved);
        }
    }

    /// Notes where a member stands now.
    pub(crate) fn follow(&mut self, moved: Moved) {
        if let Some(membership) = self.memberships.get_mut(moved.membership) {
            membership.position = moved.position;
        }
    }
}
