//! Binary messages of serializer 2.0.0 (`Phoenix.Socket.V2.JSONSerializer`): a kind, one length byte per field, the
//! fields, and data to the end. Stateless.
//!
//! A field cannot say null, so an absent ref is written empty, and an empty one is read as null.

use super::{DecodeError, Message, Payload, Ref};
use std::borrow::Cow;

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// A field that its length byte cannot count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} is {bytes} bytes long, a binary message holds 255")]
pub struct FieldTooLong {
    /// Name of the field.
    pub field: &'static str,
    /// Its length in bytes of UTF-8.
    pub bytes: usize,
}

/// Reads a push from a client: kind 0, then join ref, ref, topic and event. Errors: another kind, a message shorter than
/// its fields, or a field that is not UTF-8.
pub fn decode_binary(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let (&kind, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if kind != PUSH {
        return Err(DecodeError::Kind(kind));
    }
    let (lengths, mut rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
    let mut fields = [""; 4];
    for (field, &length) in fields.iter_mut().zip(lengths) {
        let (bytes, after) = rest.split_at_checked(usize::from(length)).ok_or(DecodeError::Truncated)?;
        *field = str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
        rest = after;
    }
    let reference = |text: &str| if text.is_empty() { Ref::null() } else { Ref::string(text) };
    let [join_ref, ref_, topic, event] = fields;
    Ok(Message {
        join_ref: reference(join_ref),
        reference: reference(ref_),
        topic: Cow::Borrowed(topic),
        event: Cow::Borrowed(event),
        payload: Payload::Binary(rest),
    })
}

/// Appends a whole message, or nothing when a field is too long.
fn write(out: &mut Vec<u8>, kind: u8, fields: &[(&'static str, &str)], data: &[u8]) -> Result<(), FieldTooLong> {
    if let Some(&(field, text)) = fields.iter().find(|(_, text)| text.len() > usize::from(u8::MAX)) {
        return Err(FieldTooLong { field, bytes: text.len() });
    }
    out.push(kind);
    out.extend(fields.iter().map(|(_, text)| text.len() as u8));
    for (_, text) in fields {
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(data);
    Ok(())
}

/// Appends a push from the server to one joined client. Errors, here and below: a field over 255 bytes; `out` is then as
/// it was.
pub fn encode_binary_push(
    out: &mut Vec<u8>,
    join_ref: &Ref,
    topic: &str,
    event: &str,
    data: &[u8],
) -> Result<(), FieldTooLong> {
    let fields = [("join_ref", &*join_ref.as_plain()), ("topic", topic), ("event", event)];
    write(out, PUSH, &fields, data)
}

/// Appends a reply with `status` and data.
pub fn encode_binary_reply(
    out: &mut Vec<u8>,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    status: &str,
    data: &[u8],
) -> Result<(), FieldTooLong> {
    let fields =
        [("join_ref", &*join_ref.as_plain()), ("ref", &*reference.as_plain()), ("topic", topic), ("status", status)];
    write(out, REPLY, &fields, data)
}

/// Appends a message to everyone on the topic.
pub fn encode_binary_broadcast(out: &mut Vec<u8>, topic: &str, event: &str, data: &[u8]) -> Result<(), FieldTooLong> {
    write(out, BROADCAST, &[("topic", topic), ("event", event)], data)
}

/// Appends a push from a client, which [`decode_binary`] reads.
pub fn encode_binary_client(
    out: &mut Vec<u8>,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    event: &str,
    data: &[u8],
) -> Result<(), FieldTooLong> {
    let fields =
        [("join_ref", &*join_ref.as_plain()), ("ref", &*reference.as_plain()), ("topic", topic), ("event", event)];
    write(out, PUSH, &fields, data)
}
