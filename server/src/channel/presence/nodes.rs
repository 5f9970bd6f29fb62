//! Presence over several nodes. A node's diffs are broadcasts that the others hear as well: they put them into their tables
//! before their own members see them. A node that is new, or has missed something, asks for the whole state of another
//! and shows its members the difference to what it knew. Applied twice, a diff or state changes nothing more.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::{Body, DIFF, Diff, Meta, NodeId, PREFIX, Presence, Rooms, Table, json};

/// Members in one diff that is made up here; more go into further ones.
const DIFF_METAS_MAX: usize = 256;
/// Bytes of one part of a state, or what is over that by one member: NATS takes messages up to 1 MiB.
const PART_BYTES_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
struct HeardDiff {
    joins: BTreeMap<String, HeardMetas>,
    leaves: BTreeMap<String, HeardMetas>,
}

#[derive(Deserialize)]
struct HeardMetas {
    metas: Vec<Meta>,
}

impl Table {
    fn apply(&mut self, node: NodeId, topic: &str, diff: HeardDiff) {
        let rooms = self.others.entry(node).or_default();
        let room = rooms.entry(topic.to_owned()).or_default();
        for (key, HeardMetas { metas }) in diff.leaves {
            if let Some(shown) = room.get_mut(&key) {
                shown.retain(|shown| metas.iter().all(|gone| gone.phx_ref != shown.phx_ref));
            }
        }
        for (key, HeardMetas { metas }) in diff.joins {
            let shown = room.entry(key).or_default();
            for meta in metas {
                if shown.iter().all(|shown| shown.phx_ref != meta.phx_ref) {
                    shown.push(meta);
                }
            }
        }
        room.retain(|_, metas| !metas.is_empty());
        if room.is_empty() {
            rooms.remove(topic);
        }
        if rooms.is_empty() {
            self.others.remove(&node);
        }
    }
}

impl Presence {
    /// Another node has broadcast this: if it is a diff, it is in the table when this returns.
    pub(crate) fn hear(&self, node: NodeId, topic: &str, event: &str, body: &Body<'_>) {
        if let Body::Json(json) = body
            && event == DIFF
            && topic.starts_with(PREFIX)
            && let Ok(diff) = serde_json::from_str(json)
        {
            self.table().apply(node, topic, diff);
        }
    }

    /// Who is in the rooms of this node, in parts; at least one.
    pub(crate) fn parts(&self) -> Vec<Rooms> {
        let table = self.table();
        let mut parts = vec![Rooms::new()];
        let mut bytes = 0;
        for (topic, room) in &table.rooms {
            for (key, metas) in room {
                for meta in metas {
                    let more = serde_json::to_vec(meta).map_or(0, |json| json.len()) + key.len() + topic.len();
                    if bytes > 0 && bytes + more > PART_BYTES_MAX {
                        parts.push(Rooms::new());
                        bytes = 0;
                    }
                    bytes += more;
                    let part = parts.last_mut().expect("one at least");
                    part.entry(topic.clone()).or_default().entry(key.clone()).or_default().push(meta.clone());
                }
            }
        }
        parts
    }

    /// Who is in the rooms of another node now; none: it is gone. By topic, the diffs that members here are to be shown.
    pub(crate) fn replace(&self, node: NodeId, rooms: Rooms) -> Vec<(String, Body<'static>)> {
        let mut table = self.table();
        let old = table.others.remove(&node).unwrap_or_default();
        let topics: HashSet<&String> = old.keys().chain(rooms.keys()).collect();
        let mut diffs = Vec::new();
        for topic in topics {
            let leaves = beyond(&old, &rooms, topic).into_iter().map(|meta| (false, meta));
            let joins = beyond(&rooms, &old, topic).into_iter().map(|meta| (true, meta));
            for chunk in leaves.chain(joins).collect::<Vec<_>>().chunks(DIFF_METAS_MAX) {
                let mut diff = Diff::default();
                for (has_joined, (key, meta)) in chunk {
                    let side = if *has_joined { &mut diff.joins } else { &mut diff.leaves };
                    side.entry(key).or_default().metas.push(meta);
                }
                diffs.push((topic.clone(), json(&diff)));
            }
        }
        if !rooms.is_empty() {
            table.others.insert(node, rooms);
        }
        diffs
    }
}

/// Who is in a room in `rooms` and not in `others`.
fn beyond<'a>(rooms: &'a Rooms, others: &Rooms, topic: &str) -> Vec<(&'a str, &'a Meta)> {
    let known: HashSet<&str> =
        others.get(topic).into_iter().flatten().flat_map(|(_, metas)| metas).map(|meta| &*meta.phx_ref).collect();
    let room = rooms.get(topic).into_iter().flatten();
    room.flat_map(|(key, metas)| metas.iter().map(|meta| (&**key, meta)))
        .filter(|(_, meta)| !known.contains(&*meta.phx_ref))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::channel::MemberId;

    const TOPIC: &str = "presence:lobby";

    fn member(membership: u32) -> MemberId {
        MemberId { shard: 0, membership, generation: 1 }
    }

    fn node(number: NodeId) -> Presence {
        Presence::new(Some(number))
    }

    fn track(presence: &Presence, number: u32, key: &str) -> Body<'static> {
        let (meta, _) = presence.track(TOPIC, member(number), key, Map::new());
        super::super::diff(key, Some(&meta), None)
    }

    /// Keys that a newcomer would be shown, with the refs under each.
    fn shown(presence: &Presence) -> Value {
        let Body::Json(state) = presence.table().state(TOPIC) else { panic!("presence is JSON") };
        let state: Map<String, Value> = serde_json::from_str(&state).expect("JSON");
        let refs =
            |metas: Value| metas["metas"].as_array().map(|metas| metas.iter().map(|m| m["phx_ref"].clone()).collect());
        state.into_iter().map(|(key, metas)| (key, refs(metas).unwrap_or(Value::Null))).collect::<Map<_, _>>().into()
    }

    fn texts(diffs: Vec<(String, Body<'static>)>) -> Vec<Value> {
        let text = |(topic, body): (String, Body<'static>)| {
            assert_eq!(topic, TOPIC);
            let Body::Json(json) = body else { panic!("presence is JSON") };
            serde_json::from_str(&json).expect("JSON")
        };
        diffs.into_iter().map(text).collect()
    }

    #[test]
    fn a_diff_of_another_node_shows_beside_this_nodes_members_and_twice_is_once() {
        let (here, there) = (node(1), node(2));
        track(&here, 1, "ann");
        let joined = track(&there, 1, "ann");
        for _ in 0..2 {
            here.hear(2, TOPIC, DIFF, &joined);
            assert_eq!(shown(&here), json!({"ann": ["c2m-1-1", "c2m-2-1"]}));
        }
        let (key, meta) = there.table().untrack(TOPIC, member(1)).expect("there");
        for _ in 0..2 {
            here.hear(2, TOPIC, DIFF, &super::super::diff(&key, None, Some(&meta)));
            assert_eq!(shown(&here), json!({"ann": ["c2m-1-1"]}));
        }
        assert!(here.table().others.is_empty());
    }

    #[test]
    fn only_diffs_of_these_rooms_are_taken() {
        let (here, there) = (node(1), node(2));
        let joined = track(&there, 1, "ann");
        here.hear(2, TOPIC, "new:msg", &joined);
        here.hear(2, "rooms:lobby", DIFF, &joined);
        here.hear(2, TOPIC, DIFF, &Body::Json("{}".into()));
        here.hear(2, TOPIC, DIFF, &Body::Binary([1].as_slice().into()));
        assert!(here.table().others.is_empty());
    }

    #[test]
    fn a_state_replaces_what_was_known_and_tells_the_difference() {
        let (here, there) = (node(1), node(2));
        track(&there, 1, "ann");
        let whole = |presence: &Presence| presence.parts().pop().expect("one part");
        let joins = texts(here.replace(2, whole(&there)));
        assert_eq!(joins, [json!({"joins": {"ann": {"metas": [{"phx_ref": "c2m-2-1"}]}}, "leaves": {}})]);
        assert_eq!(texts(here.replace(2, whole(&there))), [Value::Null; 0]);

        there.table().untrack(TOPIC, member(1)).expect("there");
        track(&there, 2, "ben");
        let changed = json!({
            "joins": {"ben": {"metas": [{"phx_ref": "c2m-2-2"}]}},
            "leaves": {"ann": {"metas": [{"phx_ref": "c2m-2-1"}]}},
        });
        assert_eq!(texts(here.replace(2, whole(&there))), [changed]);
        let gone = json!({"joins": {}, "leaves": {"ben": {"metas": [{"phx_ref": "c2m-2-2"}]}}});
        assert_eq!(texts(here.replace(2, Rooms::new())), [gone]);
        assert_eq!(shown(&here), json!({}));
    }

    #[test]
    fn a_large_state_goes_in_parts_and_its_difference_in_several_diffs() {
        let (here, there) = (node(1), node(2));
        let fields = Map::from_iter([("text".to_owned(), "x".repeat(1024).into())]);
        let members = 600;
        for number in 0..members {
            there.track(TOPIC, member(number), &format!("key-{number}"), fields.clone());
        }
        let parts = there.parts();
        assert!(parts.len() > 1, "{}", parts.len());
        let sizes = parts.iter().map(|part| serde_json::to_vec(part).expect("JSON").len());
        assert!(sizes.max() <= Some(2 * PART_BYTES_MAX));
        let mut whole = Rooms::new();
        for (topic, room) in parts.into_iter().flatten() {
            whole.entry(topic).or_default().extend(room);
        }
        assert_eq!(whole[TOPIC].len(), members as usize);
        let diffs = texts(here.replace(2, whole));
        let joined: usize = diffs.iter().map(|diff| diff["joins"].as_object().map_or(0, Map::len)).sum();
        assert_eq!((diffs.len(), joined), (3, members as usize));
    }
}
