//! Who is in which topic. A broadcast walks over the members under the topic's lock and puts the message into each queue, so
//! all members get a topic's broadcasts in one order, and a newcomer none that was sent before it joined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use c2m_protocol::frame::Data;
use c2m_protocol::phoenix::Serializer;
use compact_str::CompactString;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::mailbox::Mailbox;
use crate::broadcast::Broadcast;
use crate::channel::MemberId;

/// How a member is reached.
pub(super) struct Seat {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) serializer: Serializer,
}

#[derive(Default)]
struct Room(Mutex<HashMap<MemberId, Seat>>);

impl Room {
    fn members(&self) -> MutexGuard<'_, HashMap<MemberId, Seat>> {
        // A panic under this lock would have been one of the map's: nothing is half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All topics that have members. The lock of the map comes before that of a room.
#[derive(Default)]
pub(crate) struct Rooms(RwLock<HashMap<CompactString, Arc<Room>>>);

impl Rooms {
    /// Adds a member.
    pub(super) fn enter(&self, topic: &str, member: MemberId, seat: Seat) {
        {
            let rooms = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(room) = rooms.get(topic) {
                // Under the lock of the map, or the room could be taken for empty and forgotten meanwhile.
                room.members().insert(member, seat);
                return;
            }
        }
        let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        rooms.entry(topic.into()).or_default().members().insert(member, seat);
    }

    /// Takes a member out.
    pub(super) fn leave(&self, topic: &str, member: MemberId) {
        let Some(room) = self.find(topic) else { return };
        let mut members = room.members();
        members.remove(&member);
        let is_empty = members.is_empty();
        drop(members);
        if is_empty {
            let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if rooms.get(topic).is_some_and(|room| room.members().is_empty()) {
                rooms.remove(topic);
            }
        }
    }

    /// Puts a broadcast into the queues of all members, but for `not_to`.
    pub(crate) fn broadcast(&self, broadcast: &Broadcast, not_to: Option<MemberId>) {
        let Some(room) = self.find(&broadcast.topic) else { return };
        let message = |serializer| broadcast.message(serializer).and_then(|(kind, bytes)| websocket(kind, bytes));
        let (v1, v2) = (message(Serializer::V1), message(Serializer::V2));
        for (member, seat) in room.members().iter() {
            let message = match seat.serializer {
                Serializer::V1 => &v1,
                Serializer::V2 => &v2,
            };
            if Some(*member) != not_to
                && let Some(message) = message
            {
                seat.mailbox.send(message.clone(), true);
            }
        }
    }

    /// Whether every member takes what it is sent about as fast as that comes.
    pub(crate) fn keep_up(&self, topic: &str) -> bool {
        self.find(topic).is_none_or(|room| room.members().values().all(|seat| !seat.mailbox.is_half_full()))
    }

    fn find(&self, topic: &str) -> Option<Arc<Room>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }
}

/// A message of the WebSocket library; none where a text is none, which the protocol crate does not write.
pub(super) fn websocket(kind: Data, bytes: bytes::Bytes) -> Option<Message> {
    match kind {
        Data::Text => Utf8Bytes::try_from(bytes).ok().map(Message::Text),
        Data::Binary => Some(Message::Binary(bytes)),
        Data::Continue | Data::Reserved(_) => None,
    }
}
