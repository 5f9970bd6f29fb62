//! Phoenix channel messages: serializer 1.0.0 (a JSON object) and 2.0.0 (a JSON array, and binary frames), as
//! `Phoenix.Socket.V1.JSONSerializer` and `Phoenix.Socket.V2.JSONSerializer` of Phoenix 1.8 read and write them.
//! Stateless.
//!
//! Decoding borrows: the payload stays the text it came as, so that it can be forwarded without being encoded again.
//! Neither decoding nor encoding recurses, whatever the nesting of the payload.

mod binary;
mod decode;
mod encode;
mod reference;

pub use binary::{
    FieldTooLong, decode_binary, encode_binary_broadcast, encode_binary_client, encode_binary_push, encode_binary_reply,
};
pub use decode::{Reply, decode_server_text, decode_text, parse_reply};
pub use encode::{encode_broadcast, encode_client, encode_close, encode_error, encode_push, encode_reply};
pub use reference::Ref;

use std::borrow::Cow;

/// Events that the protocol itself gives a meaning to (`phoenix.js`, `CHANNEL_EVENTS`; `Phoenix.Socket`).
pub mod event {
    /// Client asks to join a topic.
    pub const JOIN: &str = "phx_join";
    /// Client leaves a topic.
    pub const LEAVE: &str = "phx_leave";
    /// Server answers a message.
    pub const REPLY: &str = "phx_reply";
    /// Server ended the channel in order.
    pub const CLOSE: &str = "phx_close";
    /// The channel crashed.
    pub const ERROR: &str = "phx_error";
    /// Client is alive; sent to [`super::HEARTBEAT_TOPIC`].
    pub const HEARTBEAT: &str = "heartbeat";
}

/// Topic of heartbeats.
pub const HEARTBEAT_TOPIC: &str = "phoenix";

/// Which form messages take on a connection: chosen once, by the `vsn` query parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Serializer {
    /// 1.0.0: `{"event":…,"payload":…,"ref":…,"topic":…}`.
    V1,
    /// 2.0.0: `[join_ref,ref,topic,event,payload]`, and binary frames.
    V2,
}

impl Serializer {
    /// The serializer for a `vsn`; `None` means that no serializer matches (Phoenix answers 403).
    ///
    /// As `Phoenix.Socket` negotiates: an absent `vsn` means 1.0.0; otherwise it must be a whole semantic version that
    /// meets `~> 1.0.0` or `~> 2.0.0`: any patch, no other minor, and no pre-release of patch 0, which comes before it.
    pub fn from_vsn(vsn: Option<&str>) -> Option<Self> {
        let Some(vsn) = vsn else {
            return Some(Self::V1);
        };
        let (version, build) = vsn.split_once('+').map_or((vsn, None), |(version, build)| (version, Some(build)));
        let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = core.split('.');
        let (major, minor, patch) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let well_formed = numbers.next().is_none()
            && [major, minor, patch].into_iter().all(is_version_number)
            && [pre, build].into_iter().flatten().all(is_version_suffix);
        if !well_formed || minor != "0" || (patch == "0" && pre.is_some()) {
            return None;
        }
        match major {
            "1" => Some(Self::V1),
            "2" => Some(Self::V2),
            _ => None,
        }
    }
}

fn is_version_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn is_version_suffix(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

/// Payload of a message, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// Raw JSON text of one value.
    Json(&'a str),
    /// Data of a binary frame.
    Binary(&'a [u8]),
}

/// One channel message (`Phoenix.Socket.Message`).
#[derive(Clone, PartialEq, Debug)]
pub struct Message<'a> {
    /// The `ref` of the join this message belongs to, or null.
    pub join_ref: Ref,
    /// The sender's number for this message, or null where no answer is meant.
    pub reference: Ref,
    /// Topic, unescaped.
    pub topic: Cow<'a, str>,
    /// Event, unescaped.
    pub event: Cow<'a, str>,
    /// Payload, verbatim.
    pub payload: Payload<'a>,
}

/// Why bytes are not a message. Any of them is fatal to the connection, as in Phoenix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON.
    #[error("message is not JSON")]
    NotJson,
    /// JSON, but not of the serializer's shape: an object with topic, event, payload and ref, or an array of at least
    /// five; topic and event strings.
    #[error("message has not the shape of its serializer")]
    Shape,
    /// A binary message of an unknown kind.
    #[error("binary message of kind {0}")]
    Kind(u8),
    /// A binary message shorter than its fields.
    #[error("binary message is cut short")]
    Truncated,
    /// A field of a binary message is not UTF-8.
    #[error("field of a binary message is not UTF-8")]
    Utf8,
}
