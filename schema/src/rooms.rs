//! Many rooms: which room a client joins, and which client speaks in which of them. Pure, so that every agent and the
//! harness come to the same without a word.
//!
//! Clients are numbered over all agents, `agent + agents × number in the agent`; the lowest numbers are observers.
//!
//! - Equal sizes: client *c* is in room *c* mod *count*, so sizes differ by one at most.
//! - Zipf sizes: room *n* has a share of 1/(n+1) of the whole. The clients' places in it are a low-discrepancy sequence
//!   (multiples of the golden ratio), so that every stretch of arrivals is spread alike. With fewer clients than some ten
//!   times the rooms, the small rooms may be empty.
//!
//! Broadcast *k* is the message of one client to its room. Any client but an observer may be the one; which is drawn by
//! mixing *k*, so that rooms are spoken to in proportion to their members and never when they have none.

use serde::{Deserialize, Serialize};

/// What the topics of rooms begin with; the room's number follows.
pub const TOPIC_PREFIX: &str = "bench:";

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How clients are spread over rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// All rooms of one size.
    #[default]
    Equal,
    /// The n-th room has 1/n of the members of the first.
    Zipf,
}

impl Sizes {
    /// The word in the TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Zipf => "zipf",
        }
    }
}

/// What an agent is told of the rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPlan {
    /// Rooms, at least 1.
    pub count: u32,
    /// Their sizes.
    pub sizes: Sizes,
    /// Clients of all agents.
    pub clients: u64,
    /// Observers of all agents, fewer than clients.
    pub observers: u64,
    /// Agents, at least 1.
    pub agents: u64,
    /// Number of this agent, from 0.
    pub agent: u64,
}

/// A plan made ready for look-ups. Zipf sizes take four bytes per room.
#[derive(Clone, Debug)]
pub struct Rooms {
    plan: RoomPlan,
    /// Ends of the rooms' shares of 2^32, for Zipf sizes.
    ends: Vec<u32>,
}

impl Rooms {
    /// Works out the shares. Sums of quotients alone, so that every machine comes to the same.
    pub fn new(plan: RoomPlan) -> Self {
        let weight = |room: u32| 1.0 / (f64::from(room) + 1.0);
        let ends = match plan.sizes {
            Sizes::Equal => Vec::new(),
            Sizes::Zipf => {
                let whole: f64 = (0..plan.count).map(weight).sum();
                let mut sum = 0.0;
                let end = |room| {
                    sum += weight(room);
                    (sum / whole * f64::from(u32::MAX)) as u32
                };
                (0..plan.count).map(end).collect()
            }
        };
        Self { plan, ends }
    }

    /// The number over all agents of this agent's client `local`.
    pub fn global(&self, local: u64) -> u64 {
        self.plan.agent + self.plan.agents * local
    }

    /// This agent's number of the client `global`; none when another agent holds it.
    pub fn local(&self, global: u64) -> Option<u64> {
        (global % self.plan.agents == self.plan.agent).then(|| global / self.plan.agents)
    }

    /// The room of a client, by its number over all agents.
    pub fn room_of(&self, global: u64) -> u32 {
        match self.plan.sizes {
            Sizes::Equal => (global % u64::from(self.plan.count)) as u32,
            Sizes::Zipf => {
                let place = (global.wrapping_mul(GOLDEN) >> 32) as u32;
                let room = self.ends.partition_point(|&end| end <= place);
                // The last place of all stands on the end of the last room.
                room.min(self.ends.len() - 1) as u32
            }
        }
    }

    /// The client that sends broadcast `sequence`, by its number over all agents.
    pub fn speaker(&self, sequence: u32) -> u64 {
        let speakers = self.plan.clients - self.plan.observers;
        let place = u128::from(mix(u64::from(sequence))) * u128::from(speakers);
        self.plan.observers + (place >> 64) as u64
    }

    /// The room that broadcast `sequence` goes to.
    pub fn room_of_broadcast(&self, sequence: u32) -> u32 {
        self.room_of(self.speaker(sequence))
    }

    /// Clients of the largest room, about.
    pub fn largest(&self) -> u64 {
        match (self.plan.sizes, self.ends.first()) {
            (Sizes::Zipf, Some(&end)) => ((u128::from(self.plan.clients) * u128::from(end)) >> 32) as u64,
            _ => self.plan.clients.div_ceil(u64::from(self.plan.count)),
        }
    }
}

/// Topic of a room.
pub fn topic(room: u32) -> String {
    format!("{TOPIC_PREFIX}{room}")
}

/// The room of a topic; none when it is no room's.
pub fn room_of_topic(topic: &str) -> Option<u32> {
    topic.strip_prefix(TOPIC_PREFIX)?.parse().ok()
}

/// `SplitMix64`, one step: a well-mixed number for every `state`.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(GOLDEN);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(count: u32, sizes: Sizes, clients: u64) -> RoomPlan {
        RoomPlan { count, sizes, clients, observers: 0, agents: 1, agent: 0 }
    }

    fn members(rooms: &Rooms) -> Vec<u64> {
        let mut members = vec![0; rooms.plan.count as usize];
        (0..rooms.plan.clients).for_each(|client| members[rooms.room_of(client) as usize] += 1);
        members
    }

    #[test]
    fn equal_rooms_differ_by_one_member_and_zipf_rooms_follow_their_rank() {
        let equal = members(&Rooms::new(plan(300, Sizes::Equal, 10_000)));
        assert!(equal.iter().all(|&n| n == 33 || n == 34), "{equal:?}");
        let rooms = Rooms::new(plan(1000, Sizes::Zipf, 1_000_000));
        let zipf = members(&rooms);
        let first = 1_000_000.0 / (1..=1000).map(|n| 1.0 / f64::from(n)).sum::<f64>();
        for (n, &size) in zipf.iter().enumerate() {
            let due = first / (n as f64 + 1.0);
            assert!((size as f64 - due).abs() <= due * 0.02 + 3.0, "room {n}: {size} for {due}");
        }
        assert!(rooms.largest().abs_diff(zipf[0]) < 10, "{} for {}", rooms.largest(), zipf[0]);
        assert_eq!(members(&Rooms::new(plan(1, Sizes::Zipf, 77))), [77]);
    }

    #[test]
    fn rooms_are_spoken_to_in_proportion_to_their_members() {
        let rooms = Rooms::new(RoomPlan { observers: 2, ..plan(100, Sizes::Zipf, 10_000) });
        let members = members(&rooms);
        let mut spoken = vec![0u32; 100];
        (0..100_000).for_each(|k| spoken[rooms.room_of_broadcast(k) as usize] += 1);
        for (n, (&size, &times)) in members.iter().zip(&spoken).enumerate() {
            let due = size as f64 * 10.0;
            assert!((f64::from(times) - due).abs() < 6.0 * due.sqrt() + 10.0, "room {n}: {times} for {due}");
        }
    }

    #[test]
    fn topics_name_rooms() {
        assert_eq!((topic(17).as_str(), room_of_topic(&topic(17))), ("bench:17", Some(17)));
        assert_eq!((room_of_topic("rooms:lobby"), room_of_topic("bench:x")), (None, None));
    }

    proptest! {
        #[test]
        fn every_agent_and_the_harness_agree(
            count in 1u32..500, zipf: bool, clients in 3u64..5000, observers in 0u64..3, agents in 1u64..4) {
            let sizes = if zipf { Sizes::Zipf } else { Sizes::Equal };
            let of = |agent| Rooms::new(RoomPlan { observers, agents, agent, ..plan(count, sizes, clients) });
            let all: Vec<Rooms> = (0..agents).map(of).collect();
            for client in 0..clients {
                let holders: Vec<_> = all.iter().filter_map(|rooms| Some((rooms, rooms.local(client)?))).collect();
                prop_assert_eq!(holders.len(), 1);
                let (rooms, local) = holders[0];
                prop_assert_eq!(rooms.global(local), client);
                prop_assert!(rooms.room_of(client) < count);
                prop_assert!(all.iter().all(|other| other.room_of(client) == rooms.room_of(client)));
            }
            for sequence in 0..50 {
                let speaker = all[0].speaker(sequence);
                prop_assert!((observers..clients).contains(&speaker));
                prop_assert!(all.iter().all(|rooms| rooms.speaker(sequence) == speaker));
            }
        }
    }
}
