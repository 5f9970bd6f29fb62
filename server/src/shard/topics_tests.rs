//! Tests of [`super`]: membership bookkeeping, and walks with members coming and going.

use std::collections::BTreeMap;

use super::*;
use crate::broadcast::Bus;

/// Topics together with the positions that a shard keeps in its memberships.
struct Room {
    topics: Topics,
    positions: BTreeMap<u32, (u32, u32)>,
    bus: Bus,
}

impl Room {
    fn new() -> Self {
        Self { topics: Topics::new(), positions: BTreeMap::new(), bus: Bus::new(Vec::new()) }
    }

    fn join(&mut self, name: &str, membership: u32) {
        let place = self.topics.add(name, membership);
        self.positions.insert(membership, place);
    }

    fn leave(&mut self, membership: u32) {
        let (topic, position) = self.positions.remove(&membership).expect("a member");
        let moved = self.topics.remove(topic, position);
        self.follow(moved);
    }

    fn follow(&mut self, moved: impl IntoIterator<Item = Moved>) {
        for Moved { membership, position } in moved {
            self.positions.get_mut(&membership).expect("whoever is moved is a member").1 = position;
        }
    }

    fn broadcast(&self) -> Arc<Broadcast> {
        let permit = self.bus.permit().expect("free");
        Arc::new(Broadcast::new(permit, "room", "new:msg", &crate::channel::Body::EMPTY).expect("an object"))
    }

    fn begin(&mut self, topic: u32, served: Option<u32>) {
        let broadcast = self.broadcast();
        self.topics.begin_walk(topic, broadcast, served);
    }

    fn walk(&mut self, topic: u32, steps: usize) -> Vec<u32> {
        let topics = &mut self.topics;
        (0..steps).map_while(|_| topics.step(topic)).collect()
    }

    fn end(&mut self, topic: u32) -> bool {
        let mut moved = Vec::new();
        let more = self.topics.end_walk(topic, &mut moved);
        self.follow(moved);
        more
    }

    fn check_positions(&self) {
        for (membership, (topic, position)) in &self.positions {
            let members = self.topics.by_number.get(*topic).expect("a topic with members").members.as_slice();
            assert_eq!(members[*position as usize], *membership);
        }
    }
}

#[test]
fn the_last_leaver_takes_the_topic_along() {
    let mut room = Room::new();
    for membership in 0..1000 {
        room.join("rooms:lobby", membership);
        room.join(&format!("rooms:{membership}"), 1000 + membership);
    }
    assert_eq!(room.topics.by_number.len(), 1001);
    for membership in (0..2000).rev().step_by(2).chain((0..2000).step_by(2)) {
        room.leave(membership);
        room.check_positions();
    }
    assert_eq!((room.topics.by_number.len(), room.topics.by_name.len()), (0, 0));
    assert_eq!(room.topics.find("rooms:lobby"), None);
    assert!(room.topics.by_name.capacity() < 100, "the index shrinks as well");
}

#[test]
fn a_list_shrinks_after_a_mass_leave() {
    let mut room = Room::new();
    for membership in 0..100_000 {
        room.join("room", membership);
    }
    for membership in 100..100_000 {
        room.leave(membership);
    }
    let topic = room.topics.find("room").expect("members remain");
    let Members::Many(list) = &room.topics.by_number.get(topic).expect("known").members else { panic!("many members") };
    assert!(list.members.capacity() <= 1000, "{}", list.members.capacity());
    room.check_positions();
}

#[test]
fn a_walk_neither_skips_nor_repeats_when_members_come_and_go() {
    let mut room = Room::new();
    for membership in 0..10 {
        room.join("room", membership);
    }
    let topic = room.topics.find("room").expect("joined");
    room.begin(topic, Some(7));
    assert_eq!(room.walk(topic, 3), [0, 1, 2]);
    room.leave(1);
    room.leave(4);
    room.leave(9);
    room.join("room", 20);
    assert_eq!(room.walk(topic, 100), [3, 5, 6, 8], "4 and 9 left, 7 was served, 20 came later");
    assert!(!room.end(topic));
    room.check_positions();
    room.begin(topic, None);
    let mut second = room.walk(topic, 100);
    second.sort_unstable();
    assert_eq!(second, [0, 2, 3, 5, 6, 7, 8, 20]);
}

#[test]
fn walks_of_one_topic_go_one_after_another_and_a_sender_may_be_served_ahead_in_each() {
    let mut room = Room::new();
    for membership in 0..4 {
        room.join("room", membership);
    }
    let topic = room.topics.find("room").expect("joined");
    room.begin(topic, Some(0));
    assert_eq!(room.walk(topic, 1), [1]);
    room.begin(topic, Some(1));
    let position = room.positions[&3].1;
    let served: Vec<bool> = room.topics.walks_mut(topic).map(|walk| walk.serve(3, position)).collect();
    assert_eq!(served, [true, true]);
    let position = room.positions[&1].1;
    let served: Vec<bool> = room.topics.walks_mut(topic).map(|walk| walk.serve(1, position)).collect();
    assert_eq!(served, [false, false], "the first walk is past it, the second began with it");
    assert_eq!(room.walk(topic, 100), [2]);
    assert!(room.end(topic));
    assert_eq!(room.walk(topic, 100), [0, 2]);
    assert!(!room.end(topic));
}

#[test]
fn everyone_leaves_during_a_walk() {
    for members in [1, 2, 5] {
        let mut room = Room::new();
        for membership in 0..members {
            room.join("room", membership);
        }
        let topic = room.topics.find("room").expect("joined");
        room.begin(topic, None);
        room.begin(topic, None);
        for membership in 0..members {
            room.leave(membership);
        }
        assert_eq!(room.walk(topic, 100), [0; 0]);
        assert!(room.end(topic));
        assert_eq!(room.walk(topic, 100), [0; 0]);
        assert!(!room.end(topic));
        assert_eq!(room.topics.by_number.len(), 0);
        assert_eq!(room.bus.in_flight(), 0);
    }
}

#[test]
fn holes_do_not_pile_up_while_walks_never_cease() {
    let mut room = Room::new();
    for membership in 0..10 {
        room.join("room", membership);
    }
    let topic = room.topics.find("room").expect("joined");
    room.begin(topic, None);
    for round in 0..1000 {
        room.begin(topic, None);
        room.leave(round);
        room.join("room", round + 10);
        room.walk(topic, 100);
        assert!(room.end(topic));
    }
    room.check_positions();
    let length = room.topics.by_number.get(topic).expect("known").members.as_slice().len();
    assert!(length <= 30, "{length}");
}

#[test]
fn a_million_rooms_of_one_cost_at_most_twice_a_room_of_a_million() {
    // Bytes per member beside the connection and the membership, which both have: a quarter of slack in the list against
    // a topic and a place in the index (five bytes at a load of at least 7/16).
    let shared =
        crate::shard::connection::Connection::entry_bytes() + crate::shard::connection::Membership::entry_bytes();
    let one_room = shared + 4;
    let own_room = shared + Slab::<Topic>::entry_bytes() + 5 * 16 / 7;
    assert!(own_room <= 2 * one_room, "{own_room} against {one_room}");
}
