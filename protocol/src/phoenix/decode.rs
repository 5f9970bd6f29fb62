//! Reading text messages. Stateless; a message borrows the text it was read from.

use super::{DecodeError, Message, Payload, Ref, Serializer};
use crate::text::Text;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, marker::PhantomData};

/// Reads a message from a client.
///
/// Version 2 is an array of at least five elements, further ones are ignored; version 1 an object with at least `topic`,
/// `event`, `payload` and `ref`, a repeated key counting the last time (`Phoenix.Socket.Message.from_map!/1`). Topic and
/// event must be strings; refs and payload may be any JSON. Values that are kept as they came are walked without
/// recursion, so nesting costs a byte per level and no stack. Errors: not JSON, or another shape.
pub fn decode_text(serializer: Serializer, text: &str) -> Result<Message<'_>, DecodeError> {
    let parsed = match serializer {
        Serializer::V1 => serde_json::from_str::<Wire<'_, V1>>(text).map(|wire| wire.message),
        Serializer::V2 => serde_json::from_str::<Wire<'_, V2>>(text).map(|wire| wire.message),
    };
    parsed.map_err(|error| if error.is_data() { DecodeError::Shape } else { DecodeError::NotJson })
}

/// Reads a message from a server. The shapes are the same; version 1 servers send no `join_ref`, which is then null.
pub fn decode_server_text(serializer: Serializer, text: &str) -> Result<Message<'_>, DecodeError> {
    decode_text(serializer, text)
}

/// What a `phx_reply` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// Whether `status` is `ok`.
    pub ok: bool,
    /// The status: `ok`, `error` or the application's own.
    pub status: Cow<'a, str>,
    /// Raw JSON text of the response.
    pub response: &'a str,
}

/// Reads the payload of a `phx_reply`: an object with a string `status` and a `response`, in any order. `None`: it is
/// something else.
pub fn parse_reply(payload_json: &str) -> Option<Reply<'_>> {
    serde_json::from_str(payload_json).ok()
}

/// The shape of serializer 1.0.0.
struct V1;
/// The shape of serializer 2.0.0.
struct V2;

/// A message in the shape `S`.
struct Wire<'a, S> {
    message: Message<'a>,
    shape: PhantomData<S>,
}

impl<'a, S> From<Message<'a>> for Wire<'a, S> {
    fn from(message: Message<'a>) -> Self {
        Self { message, shape: PhantomData }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a, V2> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArrayVisitor;
        impl<'de> Visitor<'de> for ArrayVisitor {
            type Value = Message<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[join_ref, ref, topic, event, payload]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(array: &mut A, at: usize) -> Result<T, A::Error> {
                    array.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &"five elements"))
                }
                let join_ref = Ref::from_json(next::<&RawValue, A>(&mut array, 0)?.get());
                let reference = Ref::from_json(next::<&RawValue, A>(&mut array, 1)?.get());
                let Text(topic) = next(&mut array, 2)?;
                let Text(event) = next(&mut array, 3)?;
                let payload = Payload::Json(next::<&RawValue, A>(&mut array, 4)?.get());
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Message { join_ref, reference, topic, event, payload })
            }
        }
        deserializer.deserialize_seq(ArrayVisitor).map(Self::from)
    }
}

/// The text of a JSON string; an error for any other value.
fn string<E: serde::de::Error>(value: &RawValue) -> Result<Cow<'_, str>, E> {
    match value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        // It has been walked as JSON, so nothing but escapes could stand between the quotes and need reading.
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(value.get()).map(|Text(text)| text).map_err(E::custom),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a, V1> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Message<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with topic, event, payload and ref")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let (mut join_ref, mut reference) = (None, None);
                let (mut topic, mut event, mut payload) = (None, None, None);
                while let Some(Text(key)) = object.next_key()? {
                    match &*key {
                        "join_ref" => join_ref = Some(object.next_value::<&RawValue>()?),
                        "ref" => reference = Some(object.next_value::<&RawValue>()?),
                        // What an earlier one of several was does not matter, so the last alone need be a string.
                        "topic" => topic = Some(object.next_value::<&RawValue>()?),
                        "event" => event = Some(object.next_value::<&RawValue>()?),
                        "payload" => payload = Some(object.next_value::<&RawValue>()?),
                        _ => drop(object.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Message {
                    join_ref: join_ref.map_or(Ref::null(), |raw| Ref::from_json(raw.get())),
                    reference: Ref::from_json(reference.ok_or_else(|| A::Error::missing_field("ref"))?.get()),
                    topic: string(topic.ok_or_else(|| A::Error::missing_field("topic"))?)?,
                    event: string(event.ok_or_else(|| A::Error::missing_field("event"))?)?,
                    payload: Payload::Json(payload.ok_or_else(|| A::Error::missing_field("payload"))?.get()),
                })
            }
        }
        deserializer.deserialize_map(ObjectVisitor).map(Self::from)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Reply<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReplyVisitor;
        impl<'de> Visitor<'de> for ReplyVisitor {
            type Value = Reply<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with status and response")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let (mut status, mut response) = (None, None);
                while let Some(Text(key)) = object.next_key()? {
                    match &*key {
                        "status" => status = Some(object.next_value::<Text<'de>>()?),
                        "response" => response = Some(object.next_value::<&RawValue>()?),
                        _ => drop(object.next_value::<IgnoredAny>()?),
                    }
                }
                let status = status.ok_or_else(|| A::Error::missing_field("status"))?.0;
                let response = response.ok_or_else(|| A::Error::missing_field("response"))?.get();
                Ok(Reply { ok: status == "ok", status, response })
            }
        }
        deserializer.deserialize_map(ReplyVisitor)
    }
}
