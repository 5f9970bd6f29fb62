//! The stamp of a measured message: its number, when it was due and when it was sent, inside an ordinary chat payload,
//! so that any channel server carries it. Stateless.
//!
//! `{"body":"c2m<sequence, 8 hex><due, 16 hex><sent, 16 hex>xxx…","user":""}`, the keys in the order in which Phoenix
//! writes them. Times are nanoseconds of the monotonic clock of the sending host.

use crate::text::Text;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{borrow::Cow, fmt};

const OPENING: &str = "{\"body\":\"";
const MARK: &str = "c2m";
const CLOSING: &str = "\",\"user\":\"\"}";
const STAMP_BYTES: usize = MARK.len() + 8 + 16 + 16;

/// Smallest payload that holds a stamp, in bytes.
pub const MIN_PAYLOAD_BYTES: usize = 64;

const _: () = assert!(OPENING.len() + STAMP_BYTES + CLOSING.len() == MIN_PAYLOAD_BYTES);

/// The event that carries measured messages, as in the chat application of the original experiment.
pub const EVENT: &str = "new:msg";

/// What a measured message says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Number of the message among those of its publisher.
    pub sequence: u32,
    /// When the schedule wanted it sent, in nanoseconds of the publisher's monotonic clock.
    pub due_ns: u64,
    /// When it was sent, by the same clock.
    pub sent_ns: u64,
}

impl Stamp {
    /// Appends a JSON payload of exactly `payload_bytes` bytes that carries this stamp; the same stamp and size give the
    /// same bytes.
    ///
    /// # Panics
    /// When `payload_bytes` is under [`MIN_PAYLOAD_BYTES`].
    pub fn encode(&self, out: &mut Vec<u8>, payload_bytes: usize) {
        let padding_bytes = payload_bytes.checked_sub(MIN_PAYLOAD_BYTES).expect("payload too small for a stamp");
        out.reserve(payload_bytes);
        out.extend_from_slice(OPENING.as_bytes());
        out.extend_from_slice(MARK.as_bytes());
        push_hex(out, &self.sequence.to_be_bytes());
        push_hex(out, &self.due_ns.to_be_bytes());
        push_hex(out, &self.sent_ns.to_be_bytes());
        out.resize(out.len() + padding_bytes, b'x');
        out.extend_from_slice(CLOSING.as_bytes());
    }

    /// Reads the stamp from the `body` of a JSON object, whatever the order of its keys and the spacing. `None`: not an
    /// object, no `body`, or a body that does not begin with a stamp.
    pub fn find(payload_json: &str) -> Option<Self> {
        // The usual order and spacing need no JSON parser.
        match payload_json.strip_prefix(OPENING).and_then(Self::from_body) {
            Some(stamp) => Some(stamp),
            None => Self::from_body(&serde_json::from_str::<Body<'_>>(payload_json).ok()?.0?),
        }
    }

    fn from_body(body: &str) -> Option<Self> {
        let hex = body.strip_prefix(MARK)?.as_bytes();
        let (sequence, rest) = hex.split_first_chunk::<8>()?;
        let (due, rest) = rest.split_first_chunk::<16>()?;
        let (sent, _) = rest.split_first_chunk::<16>()?;
        Some(Self { sequence: read_hex(sequence)? as u32, due_ns: read_hex(due)?, sent_ns: read_hex(sent)? })
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Lower-case hexadecimal digits, at most sixteen.
fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

/// The string under `body` at the top of an object.
struct Body<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BodyVisitor;
        impl<'de> Visitor<'de> for BodyVisitor {
            type Value = Body<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut body = None;
                while let Some(key) = object.next_key::<Text<'de>>()? {
                    if key.0 == "body" {
                        body = Some(object.next_value::<Text<'de>>()?.0);
                    } else {
                        object.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Body(body))
            }
        }
        deserializer.deserialize_map(BodyVisitor)
    }
}
