//! Messages that members send to themselves for later.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Shard;
use super::connection::Membership;
use crate::channel::MemberId;
use crate::session::{Calls as _, Session as _};

/// Messages that may be under way in a shard at a time.
const TIMERS_MAX: usize = 65_536;
/// Messages delivered in one turn of the loop.
const DELIVERIES_PER_TURN: usize = 256;

struct Timer {
    at_ns: u64,
    member: MemberId,
    message: Box<dyn Any + Send>,
}

/// In the order of their times.
#[derive(Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    /// Tells whether there was room for one more.
    pub(crate) fn add(&mut self, at_ns: u64, member: MemberId, message: Box<dyn Any + Send>) -> bool {
        let has_room = self.0.len() < TIMERS_MAX;
        if has_room {
            self.0.push(Reverse(Timer { at_ns, member, message }));
        }
        has_room
    }

    /// When the next is due.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(timer)| timer.at_ns)
    }

    fn take(&mut self, now_ns: u64) -> Option<Timer> {
        let is_due = self.due_ns()? <= now_ns;
        is_due.then(|| self.0.pop()).flatten().map(|Reverse(timer)| timer)
    }
}

impl Shard {
    /// Delivers messages that are due.
    pub(crate) fn timer_step(&mut self) {
        for _ in 0..DELIVERIES_PER_TURN {
            let Some(timer) = self.timers.take(self.now_ns) else { return };
            self.on_info(timer.member, timer.message);
        }
    }

    /// A message from a member to itself has come due.
    fn on_info(&mut self, member: MemberId, message: Box<dyn Any + Send>) {
        let number = member.membership;
        if self.member_id(number) != Some(member) {
            return;
        }
        let Some(&Membership { connection, topic, .. }) = self.memberships.get(number) else { return };
        let Some(serializer) = self.serializer(connection) else { return };
        let Some(topic) = self.topics.name(topic).map(compact_str::CompactString::from) else { return };
        self.call(connection, serializer, &topic, number, None, |channel, context| {
            channel.handle_info(context, message)
        });
        self.flush_reply(connection);
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.member).cmp(&(other.at_ns, other.member))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_the_order_of_their_times_and_not_before() {
        let mut timers = Timers::default();
        let member = |membership| MemberId { shard: 0, membership, generation: 0 };
        for (at_ns, number) in [(30, 1), (10, 2), (20, 3)] {
            assert!(timers.add(at_ns, member(number), Box::new(number)));
        }
        let mut taken = |now_ns| timers.take(now_ns).map(|timer| timer.member.membership);
        assert_eq!([taken(9), taken(20), taken(20), taken(20), taken(99)], [None, Some(2), Some(3), None, Some(1)]);
        assert_eq!(timers.due_ns(), None);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut timers = Timers::default();
        let member = MemberId { shard: 0, membership: 0, generation: 0 };
        assert!((0..TIMERS_MAX).all(|i| timers.add(i as u64, member, Box::new(()))));
        assert!(!timers.add(0, member, Box::new(())));
    }
}
