//! What nodes say to each other: one JSON text a message, on one subject that all of them hear.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::NodeId;
use crate::broadcast::Payload;
use crate::channel::{Body, Meta};

/// By topic and by key, who is in the rooms that show it.
pub(crate) type Rooms = HashMap<String, BTreeMap<String, Vec<Meta>>>;

/// A message and who it is from.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) node: NodeId,
    /// Broadcasts that the node has numbered so far, this one included.
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) word: Word<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word<'a> {
    /// A broadcast, its payload as it was written.
    Json {
        #[serde(borrow)]
        topic: Cow<'a, str>,
        #[serde(borrow)]
        event: Cow<'a, str>,
        #[serde(borrow)]
        payload: &'a RawValue,
    },
    /// A broadcast of data, in base64.
    Binary {
        #[serde(borrow)]
        topic: Cow<'a, str>,
        #[serde(borrow)]
        event: Cow<'a, str>,
        payload: String,
    },
    /// The node is there, and this is the number of the last state that it told.
    Beat { state: u64 },
    /// The node wants to know the whole state of another.
    Ask { of: NodeId },
    /// A part of a node's state, and whether it is the last.
    State { state: u64, part: u32, is_last: bool, rooms: Rooms },
    /// The node ends.
    Bye,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn write(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("names are text, values were JSON").into()
    }
}

impl<'a> Word<'a> {
    /// None when the payload is no JSON, which no member could have read either.
    pub(super) fn broadcast(topic: &'a str, event: &'a str, payload: &'a Payload) -> Option<Self> {
        let (topic, event) = (topic.into(), event.into());
        Some(match payload {
            Payload::Json(json) => Self::Json { topic, event, payload: serde_json::from_str(json).ok()? },
            Payload::Binary(data) => Self::Binary { topic, event, payload: STANDARD.encode(data) },
        })
    }

    /// Topic, event and body of a broadcast.
    pub(super) fn as_broadcast(&self) -> Option<(&str, &str, Body<'_>)> {
        match self {
            Self::Json { topic, event, payload } => Some((topic, event, Body::Json(payload.get().into()))),
            Self::Binary { topic, event, payload } => {
                Some((topic, event, Body::Binary(STANDARD.decode(payload).ok()?.into())))
            }
            _ => None,
        }
    }

    pub(super) fn is_broadcast(&self) -> bool {
        matches!(self, Self::Json { .. } | Self::Binary { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(payload: &Payload, topic: &str, event: &str) -> Option<(String, String, Body<'static>)> {
        let word = Word::broadcast(topic, event, payload)?;
        let bytes = Envelope { node: u64::MAX, sequence: 3, word }.write();
        let envelope = Envelope::read(&bytes).expect("what was written");
        assert_eq!((envelope.node, envelope.sequence), (u64::MAX, 3));
        assert!(envelope.word.is_broadcast());
        let (topic, event, body) = envelope.word.as_broadcast()?;
        let body = match body {
            Body::Json(json) => Body::Json(json.into_owned().into()),
            Body::Binary(data) => Body::Binary(data.into_owned().into()),
        };
        Some((topic.to_owned(), event.to_owned(), body))
    }

    proptest! {
        #[test]
        fn data_arrives_as_it_was(data: Vec<u8>, topic: String, event: String) {
            let payload = Payload::Binary(data.clone().into());
            prop_assert_eq!(there_and_back(&payload, &topic, &event), Some((topic, event, Body::Binary(data.into()))));
        }

        #[test]
        fn no_bytes_bring_the_reader_down(bytes: Vec<u8>) {
            let _ = Envelope::read(&bytes);
        }
    }

    /// Spaces, order of members, numbers beyond a double and escapes are the sender's.
    #[test]
    fn json_arrives_byte_for_byte() {
        for json in [r#"{"b": 1,"a":1e400, "a":"\u00e9\n"}"#, "{}", "{ \"user\" :\tnull }"] {
            let payload = Payload::Json(json.into());
            let (topic, _, body) = there_and_back(&payload, "rooms:\"é\n", "new:msg").expect("JSON");
            assert_eq!((&*topic, body), ("rooms:\"é\n", Body::Json(json.into())));
        }
    }

    #[test]
    fn what_is_no_json_is_not_sent() {
        assert!(Word::broadcast("rooms:lobby", "new:msg", &Payload::Json("{".into())).is_none());
    }
}
