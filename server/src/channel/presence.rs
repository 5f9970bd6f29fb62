//! Rooms `presence:*`: every member is shown who else is there (`Phoenix.Presence`). A newcomer gets `presence_state`,
//! everybody a `presence_diff` for each who comes, goes or changes, so that n members cost about n²/2 messages to gather.
//!
//! Join parameters: `{"key":K,"meta":{…}}`, both optional; members that give one key appear as one with several metas.
//! `update` with `{"meta":{…}}` replaces the meta of a member; `new:msg` goes to all as in the chat rooms.
//!
//! The table is changed before its diff is broadcast, and a newcomer is in the topic before it reads the table. So a diff
//! may come to a member whose state has it already, never the other way round; refs tell clients which metas they know.
//! The same holds for diffs of other nodes (`nodes`).

mod nodes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat::chat;
use super::{Body, Channel, Context, Join, MemberId, Outcome, Payload};
use crate::backplane::{NodeId, Rooms};

/// What the topics of these rooms begin with.
pub(super) const PREFIX: &str = "presence:";
pub(crate) const DIFF: &str = "presence_diff";
const STATE: &str = "presence_state";
const UPDATE: &str = "update";

/// A kind of room that shows who is in it.
pub(super) struct PresenceRoom(pub(super) Arc<Presence>);

/// Who is in the rooms of this kind.
pub(crate) struct Presence {
    /// What refs and keys of this node begin with where there are several, so that no two nodes make the same.
    node: Option<NodeId>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rooms: Rooms,
    keys: HashMap<MemberId, String>,
    refs: u64,
    /// Members of other nodes.
    others: HashMap<NodeId, Rooms>,
}

/// What is shown of one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    #[serde(flatten)]
    fields: Map<String, Value>,
    phx_ref: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phx_ref_prev: Option<String>,
    /// None: of another node.
    #[serde(skip)]
    member: Option<MemberId>,
}

/// What is shown under one key.
#[derive(Default, Serialize)]
struct Metas<'a> {
    metas: Vec<&'a Meta>,
}

/// Changes by key.
#[derive(Default, Serialize)]
struct Diff<'a> {
    joins: BTreeMap<&'a str, Metas<'a>>,
    leaves: BTreeMap<&'a str, Metas<'a>>,
}

#[derive(Default, Deserialize)]
struct Params {
    key: Option<String>,
    #[serde(default)]
    meta: Map<String, Value>,
}

impl Params {
    /// The parameters of a payload; none when it is not such an object.
    fn of(payload: Payload<'_>) -> Option<Self> {
        match payload {
            Payload::Json(json) => serde_json::from_str(json).ok(),
            Payload::Binary(_) => None,
        }
    }
}

impl Table {
    fn new_ref(&mut self, node: Option<NodeId>) -> String {
        self.refs += 1;
        match node {
            Some(node) => format!("c2m-{node:x}-{:x}", self.refs),
            None => format!("c2m-{:x}", self.refs),
        }
    }

    /// Takes a member out: its key and what was shown.
    fn untrack(&mut self, topic: &str, member: MemberId) -> Option<(String, Meta)> {
        let key = self.keys.remove(&member)?;
        let room = self.rooms.get_mut(topic)?;
        let metas = room.get_mut(&key)?;
        let meta = metas.remove(metas.iter().position(|meta| meta.member == Some(member))?);
        if metas.is_empty() {
            room.remove(&key);
        }
        if room.is_empty() {
            self.rooms.remove(topic);
        }
        Some((key, meta))
    }

    /// Who is in a room, on whichever node.
    fn state(&self, topic: &str) -> Body<'static> {
        let mut state: BTreeMap<&str, Metas<'_>> = BTreeMap::new();
        let rooms = std::iter::once(&self.rooms).chain(self.others.values());
        for (key, metas) in rooms.filter_map(|rooms| rooms.get(topic)).flatten() {
            state.entry(key).or_default().metas.extend(metas);
        }
        json(&state)
    }
}

impl Presence {
    /// Of a node among several, or of a server alone.
    pub(crate) fn new(node: Option<NodeId>) -> Self {
        Self { node, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic under this lock would have been one of the map's: nothing is half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key that no other member has.
    fn own_key(&self, member: MemberId) -> String {
        let MemberId { shard, membership, generation } = member;
        match self.node {
            Some(node) => format!("{node:x}-{shard}-{membership}-{generation}"),
            None => format!("{shard}-{membership}-{generation}"),
        }
    }

    /// Shows a member under `key`: what is shown, and the state of the room with it.
    fn track(&self, topic: &str, member: MemberId, key: &str, fields: Map<String, Value>) -> (Meta, Body<'static>) {
        let mut table = self.table();
        let meta = Meta { fields, phx_ref: table.new_ref(self.node), phx_ref_prev: None, member: Some(member) };
        let room = table.rooms.entry(topic.to_owned()).or_default();
        room.entry(key.to_owned()).or_default().push(meta.clone());
        table.keys.insert(member, key.to_owned());
        (meta, table.state(topic))
    }

    /// Shows a member otherwise: its key, what was shown and what is.
    fn update(&self, topic: &str, member: MemberId, fields: Map<String, Value>) -> Option<(String, Meta, Meta)> {
        let mut table = self.table();
        let phx_ref = table.new_ref(self.node);
        let key = table.keys.get(&member)?.clone();
        let metas = table.rooms.get_mut(topic)?.get_mut(&key)?;
        let meta = metas.iter_mut().find(|meta| meta.member == Some(member))?;
        let new = Meta { fields, phx_ref, phx_ref_prev: Some(meta.phx_ref.clone()), member: Some(member) };
        let old = std::mem::replace(meta, new.clone());
        Some((key, old, new))
    }
}

impl Channel for PresenceRoom {
    fn join<'m>(&self, _topic: &'m str, params: Payload<'m>) -> Join<'m> {
        match Params::of(params) {
            Some(_) => Join::Accepted(Body::EMPTY),
            None => Join::Refused(Body::Json(r#"{"reason":"join with {\"key\":text,\"meta\":object}"}"#.into())),
        }
    }

    fn after_join<'m>(&self, context: &mut Context<'m>, params: Payload<'m>) -> Outcome<'m> {
        let Some(Params { key, meta }) = Params::of(params) else { return Outcome::Crash };
        let member = context.member();
        let key = key.unwrap_or_else(|| self.0.own_key(member));
        let (meta, state) = self.0.track(context.topic(), member, &key, meta);
        context.push(STATE, state);
        context.announce(DIFF, diff(&key, Some(&meta), None), true);
        Outcome::NoReply
    }

    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m> {
        if event == UPDATE {
            let Some(Params { meta, .. }) = Params::of(payload) else { return Outcome::Crash };
            let changed = self.0.update(context.topic(), context.member(), meta);
            let Some((key, old, new)) = changed else { return Outcome::Crash };
            context.announce(DIFF, diff(&key, Some(&new), Some(&old)), true);
            return Outcome::ok(Body::EMPTY);
        }
        chat(context, event, payload)
    }

    fn terminate(&self, context: &mut Context<'_>) {
        let gone = self.0.table().untrack(context.topic(), context.member());
        if let Some((key, meta)) = gone {
            context.announce(DIFF, diff(&key, None, Some(&meta)), false);
        }
    }
}

fn diff(key: &str, joined: Option<&Meta>, left: Option<&Meta>) -> Body<'static> {
    fn side<'a>(key: &'a str, meta: Option<&'a Meta>) -> BTreeMap<&'a str, Metas<'a>> {
        meta.map(|meta| (key, Metas { metas: vec![meta] })).into_iter().collect()
    }
    json(&Diff { joins: side(key, joined), leaves: side(key, left) })
}

fn json(value: &impl Serialize) -> Body<'static> {
    Body::Json(serde_json::to_string(value).expect("names are text, values were JSON").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(membership: u32) -> MemberId {
        MemberId { shard: 0, membership, generation: 1 }
    }

    fn context(number: u32) -> Context<'static> {
        Context::new("presence:lobby", member(number), 0)
    }

    /// What a context was told to send: event and payload.
    fn sent(context: &Context<'_>) -> Vec<(String, Value)> {
        let read = |body: &Body<'_>| match body {
            Body::Json(json) => serde_json::from_str(json).expect("JSON"),
            Body::Binary(_) => panic!("presence is JSON"),
        };
        let effect = |effect: &super::super::Effect<'_>| match effect {
            super::super::Effect::Push { event, body } | super::super::Effect::Broadcast { event, body, .. } => {
                (event.to_string(), read(body))
            }
            super::super::Effect::SendAt { .. } => panic!("presence sends nothing to itself"),
        };
        context.effects.iter().map(effect).collect()
    }

    fn join(room: &PresenceRoom, number: u32, params: &'static str) -> Vec<(String, Value)> {
        let mut context = context(number);
        assert_eq!(room.after_join(&mut context, Payload::Json(params)), Outcome::NoReply);
        sent(&context)
    }

    /// Protocol points 71 to 74.
    #[test]
    fn state_and_diffs_say_who_is_there() {
        let room = PresenceRoom(Arc::new(Presence::new(None)));
        let first = join(&room, 1, r#"{"key":"ann","meta":{"age":1}}"#);
        let ann = serde_json::json!({"ann": {"metas": [{"age": 1, "phx_ref": "c2m-1"}]}});
        assert_eq!(
            first,
            [(STATE.to_owned(), ann.clone()), (DIFF.to_owned(), serde_json::json!({"joins": ann, "leaves": {}}))]
        );

        let second = join(&room, 2, r#"{"key":"ann"}"#);
        let both = serde_json::json!({"ann": {"metas": [{"age": 1, "phx_ref": "c2m-1"}, {"phx_ref": "c2m-2"}]}});
        assert_eq!(second[0], (STATE.to_owned(), both));

        let mut update = context(1);
        let outcome = room.handle_in(&mut update, UPDATE, Payload::Json(r#"{"meta":{"age":2}}"#));
        assert_eq!(outcome, Outcome::ok(Body::EMPTY));
        let changed = serde_json::json!({
            "joins": {"ann": {"metas": [{"age": 2, "phx_ref": "c2m-3", "phx_ref_prev": "c2m-1"}]}},
            "leaves": {"ann": {"metas": [{"age": 1, "phx_ref": "c2m-1"}]}},
        });
        assert_eq!(sent(&update), [(DIFF.to_owned(), changed)]);

        let mut leave = context(1);
        room.terminate(&mut leave);
        let left = serde_json::json!({
            "joins": {},
            "leaves": {"ann": {"metas": [{"age": 2, "phx_ref": "c2m-3", "phx_ref_prev": "c2m-1"}]}},
        });
        assert_eq!(sent(&leave), [(DIFF.to_owned(), left)]);
        let third = join(&room, 3, r#"{"key":"ben"}"#);
        let rest =
            serde_json::json!({"ann": {"metas": [{"phx_ref": "c2m-2"}]}, "ben": {"metas": [{"phx_ref": "c2m-4"}]}});
        assert_eq!(third[0], (STATE.to_owned(), rest));
    }

    #[test]
    fn a_room_that_all_have_left_is_forgotten() {
        let room = PresenceRoom(Arc::new(Presence::new(None)));
        join(&room, 1, "{}");
        room.terminate(&mut context(1));
        room.terminate(&mut context(1));
        let table = room.0.table();
        assert!(table.rooms.is_empty() && table.keys.is_empty());
    }

    #[test]
    fn a_join_with_other_parameters_is_refused() {
        let room = PresenceRoom(Arc::new(Presence::new(None)));
        for params in [Payload::Json("[]"), Payload::Json(r#"{"key":1}"#), Payload::Binary(b"{}")] {
            assert!(matches!(room.join("presence:lobby", params), Join::Refused(_)), "{params:?}");
        }
    }
}
