//! Topics of one shard and their members. Owned by the shard, used on its thread only.
//!
//! Built for one topic with a million members and for a million topics with one: a name is stored once, a lone member
//! needs no list, an empty topic is gone.
//!
//! A broadcast walks the list in steps, and members come and go between steps. So while a topic has walks, a leaver
//! leaves a hole behind and nobody moves: a walk can neither skip nor repeat a member. Holes are filled when a walk
//! ends; a newcomer stands behind the end that the walk noted when it began.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::broadcast::Broadcast;
use crate::slab::Slab;

/// In a member list: this member has left during a walk.
const HOLE: u32 = u32::MAX;

/// A broadcast on its way through the members that a topic has on this shard.
pub(crate) struct Walk {
    pub(crate) broadcast: Arc<Broadcast>,
    /// Position in the member list that is next.
    next: u32,
    /// End of the list when the walk began.
    end: u32,
    /// Memberships that had the broadcast ahead of the walk, sorted: its sender, as a rule.
    served: Vec<u32>,
}

impl Walk {
    /// Marks `membership`, which stands at `position`, as served; tells whether it was still to be.
    pub(crate) fn serve(&mut self, membership: u32, position: u32) -> bool {
        if position < self.next || position >= self.end {
            return false;
        }
        let Err(at) = self.served.binary_search(&membership) else { return false };
        self.served.insert(at, membership);
        true
    }
}

#[derive(Default)]
struct Walking {
    walks: VecDeque<Walk>,
    holes: Vec<u32>,
}

/// Members of a topic, as numbers of memberships.
enum Members {
    One(u32),
    Many(Box<List>),
}

/// Two or more members, or any number during a walk. Boxed, so that a topic with one does not pay for it.
#[derive(Default)]
struct List {
    members: Vec<u32>,
}

impl Members {
    fn as_mut_slice(&mut self) -> &mut [u32] {
        match self {
            Self::One(member) => std::slice::from_mut(member),
            Self::Many(list) => &mut list.members,
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(list) => &list.members,
        }
    }

    fn push(&mut self, member: u32) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(List { members: vec![*first, member] })),
            Self::Many(list) => {
                let members = &mut list.members;
                if members.len() == members.capacity() {
                    // A quarter at a time: doubling leaves a third unused on average.
                    members.reserve_exact((members.len() / 4).max(4));
                }
                members.push(member);
            }
        }
    }
}

struct Topic {
    name: CompactString,
    members: Members,
    /// Only while there are walks.
    walking: Option<Box<Walking>>,
}

/// A member that now stands elsewhere in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) membership: u32,
    pub(crate) position: u32,
}

/// Topics by number and by name.
pub(crate) struct Topics {
    by_number: Slab<Topic>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Topics {
    pub(crate) fn new() -> Self {
        Self { by_number: Slab::new(), by_name: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let is_it = |&topic: &u32| self.by_number.get(topic).is_some_and(|topic| topic.name == name);
        self.by_name.find(self.hasher.hash_one(name), is_it).copied()
    }

    pub(crate) fn name(&self, topic: u32) -> Option<&str> {
        self.by_number.get(topic).map(|topic| topic.name.as_str())
    }

    /// Adds a member; gives the topic's number and the member's position.
    pub(crate) fn add(&mut self, name: &str, membership: u32) -> (u32, u32) {
        if let Some(number) = self.find(name) {
            let members = &mut self.by_number.get_mut(number).expect("the index names living topics").members;
            members.push(membership);
            return (number, members.as_slice().len() as u32 - 1);
        }
        let topic = Topic { name: name.into(), members: Members::One(membership), walking: None };
        let number = self.by_number.insert(topic);
        let (topics, hasher) = (&self.by_number, &self.hasher);
        let rehash = |&topic: &u32| hasher.hash_one(topics.get(topic).map_or("", |topic| topic.name.as_str()));
        self.by_name.insert_unique(hasher.hash_one(name), number, rehash);
        (number, 0)
    }

    /// Removes the member at `position`; the topic goes with its last one. Gives whoever was moved into the gap.
    pub(crate) fn remove(&mut self, number: u32, position: u32) -> Option<Moved> {
        let topic = self.by_number.get_mut(number)?;
        if let Some(walking) = &mut topic.walking {
            *topic.members.as_mut_slice().get_mut(position as usize)? = HOLE;
            walking.holes.push(position);
            return None;
        }
        match &mut topic.members {
            Members::One(_) => {
                self.forget(number);
                None
            }
            Members::Many(list) => {
                let moved = swap_remove(&mut list.members, position);
                self.tidy(number);
                moved
            }
        }
    }

    fn forget(&mut self, number: u32) {
        let Some(topic) = self.by_number.remove(number) else { return };
        let hash = self.hasher.hash_one(topic.name.as_str());
        if let Ok(entry) = self.by_name.find_entry(hash, |&candidate| candidate == number) {
            entry.remove();
        }
        if self.by_name.len() < self.by_name.capacity() / 8 {
            let (topics, hasher) = (&self.by_number, &self.hasher);
            self.by_name
                .shrink_to_fit(|&topic| hasher.hash_one(topics.get(topic).map_or("", |topic| topic.name.as_str())));
        }
    }

    /// Gives memory back when most of a list is unused, and forgets a topic without members.
    fn tidy(&mut self, number: u32) {
        let Some(topic) = self.by_number.get_mut(number) else { return };
        let Members::Many(list) = &mut topic.members else { return };
        let members = &mut list.members;
        match *members.as_slice() {
            [] => self.forget(number),
            [only] => topic.members = Members::One(only),
            _ if members.len() < members.capacity() / 4 => members.shrink_to(members.len() * 2),
            _ => {}
        }
    }

    /// Begins a walk through the present members, behind those that are under way. `served` had the broadcast already.
    /// Tells whether the topic had no walk before.
    pub(crate) fn begin_walk(&mut self, number: u32, broadcast: Arc<Broadcast>, served: Option<u32>) -> bool {
        let Some(topic) = self.by_number.get_mut(number) else { return false };
        let end = topic.members.as_slice().len() as u32;
        let is_first = topic.walking.is_none();
        let walking = topic.walking.get_or_insert_default();
        walking.walks.push_back(Walk { broadcast, next: 0, end, served: served.into_iter().collect() });
        is_first
    }

    /// The walks under way on a topic, in the order of their broadcasts.
    pub(crate) fn walks_mut(&mut self, number: u32) -> impl Iterator<Item = &mut Walk> {
        let walking = self.by_number.get_mut(number).and_then(|topic| topic.walking.as_mut());
        walking.into_iter().flat_map(|walking| walking.walks.iter_mut())
    }

    /// The broadcast that is being walked through a topic.
    pub(crate) fn current(&self, number: u32) -> Option<&Arc<Broadcast>> {
        Some(&self.by_number.get(number)?.walking.as_ref()?.walks.front()?.broadcast)
    }

    /// The next membership that the current walk has to serve; none when it is through.
    pub(crate) fn step(&mut self, number: u32) -> Option<u32> {
        let topic = self.by_number.get_mut(number)?;
        let walk = topic.walking.as_mut()?.walks.front_mut()?;
        let members = topic.members.as_slice();
        while walk.next < walk.end {
            let member = *members.get(walk.next as usize)?;
            walk.next += 1;
            if member != HOLE && walk.served.binary_search(&member).is_err() {
                return Some(member);
            }
        }
        None
    }

    /// Ends the current walk and fills holes, telling `moved` who went where. Tells whether another walk waits.
    ///
    /// With walks still waiting, holes are filled only when they outnumber the members; a member that joined after such
    /// a broadcast began may then be among its receivers. Nobody is skipped or served twice by it.
    pub(crate) fn end_walk(&mut self, number: u32, moved: &mut Vec<Moved>) -> bool {
        let Some(topic) = self.by_number.get_mut(number) else { return false };
        let Some(walking) = &mut topic.walking else { return false };
        walking.walks.pop_front();
        let more = !walking.walks.is_empty();
        let holes = &mut walking.holes;
        let is_sparse = holes.len() > topic.members.as_slice().len() / 2;
        if !more || is_sparse {
            // From the back, so that whatever fills a hole is no hole itself.
            holes.sort_unstable_by(|a, b| b.cmp(a));
            if let (Members::One(member), [_]) = (&topic.members, holes.as_slice()) {
                debug_assert_eq!(*member, HOLE, "a hole was made at the only position");
                topic.members = Members::Many(Box::default());
                holes.clear();
            }
            if let Members::Many(list) = &mut topic.members {
                moved.extend(holes.drain(..).filter_map(|hole| swap_remove(&mut list.members, hole)));
            }
        }
        if !more {
            topic.walking = None;
            self.tidy(number);
        }
        more
    }
}

fn swap_remove(members: &mut Vec<u32>, position: u32) -> Option<Moved> {
    members.swap_remove(position as usize);
    members.get(position as usize).map(|&membership| Moved { membership, position })
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
