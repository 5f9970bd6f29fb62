//! Values that are a number, a list or a word: they say what they expect when they are given something else.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `clients.counts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Chosen to fit the machine.
    Auto,
    /// As given, in the order given.
    List(Vec<u64>),
}

impl Counts {
    /// Whether no count is given and none is to be chosen.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::List(list) if list.is_empty())
    }

    /// The counts; none while they are still to be chosen.
    pub fn list(&self) -> Option<&[u64]> {
        match self {
            Self::Auto => None,
            Self::List(list) => Some(list),
        }
    }
}

/// `broadcast.payload_bytes`: one size or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads(pub Vec<u64>);

/// Words, or one text that is split at spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TextOrWords")]
pub struct Words(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrWords {
    Text(String),
    Words(Vec<String>),
}

impl From<TextOrWords> for Words {
    fn from(value: TextOrWords) -> Self {
        Self(match value {
            TextOrWords::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            TextOrWords::Words(words) => words,
        })
    }
}

impl Words {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A value, or a list of which each makes points of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a value of the right kind or a list of such values")]
        enum Form<T> {
            One(T),
            Many(Vec<T>),
        }
        Ok(match Form::deserialize(d)? {
            Form::One(value) => Self(vec![value]),
            Form::Many(values) => Self(values),
        })
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(s),
            several => several.serialize(s),
        }
    }
}

/// `broadcast.interval_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// The larger of one second and 15 µs per client.
    Auto,
    /// Milliseconds.
    Ms(u64),
}

impl Interval {
    /// Time a client takes of an automatic interval: the measured 10 µs of a loopback send and 4.4 µs of its receipt.
    const AUTO_NS_PER_CLIENT: u64 = 15_000;

    /// Nanoseconds between the due times of broadcasts to `clients`.
    pub fn ns(self, clients: u64) -> u64 {
        match self {
            Self::Auto => (clients * Self::AUTO_NS_PER_CLIENT).max(1_000_000_000),
            Self::Ms(ms) => ms * 1_000_000,
        }
    }
}

/// `expect.joined`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Every client of the point.
    All,
    /// At least so many.
    AtLeast(u64),
}

/// What a [`Word`] visitor may meet.
enum Value {
    Number(u64),
    List(Vec<u64>),
    Word,
}

struct Word {
    expecting: &'static str,
    keyword: Option<&'static str>,
    list: bool,
}

impl<'de> Visitor<'de> for Word {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        u64::try_from(v).map(Value::Number).map_err(|_| E::invalid_value(de::Unexpected::Signed(v), &self))
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        if Some(v) == self.keyword { Ok(Value::Word) } else { Err(E::invalid_value(de::Unexpected::Str(v), &self)) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        if !self.list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut list = Vec::new();
        while let Some(n) = seq.next_element::<u64>()? {
            list.push(n);
        }
        Ok(Value::List(list))
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = Word { expecting: "a list of client counts or \"auto\"", keyword: Some("auto"), list: true };
        Ok(match d.deserialize_any(word)? {
            Value::Number(n) => Self::List(vec![n]),
            Value::List(list) => Self::List(list),
            Value::Word => Self::Auto,
        })
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => s.serialize_str("auto"),
            Self::List(list) => list.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Payloads {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = Word { expecting: "a size in bytes or a list of sizes", keyword: None, list: true };
        Ok(match d.deserialize_any(word)? {
            Value::Number(n) => Self(vec![n]),
            Value::List(list) => Self(list),
            Value::Word => Self(Vec::new()),
        })
    }
}

impl Serialize for Payloads {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => s.serialize_u64(*one),
            several => several.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = Word { expecting: "milliseconds or \"auto\"", keyword: Some("auto"), list: false };
        Ok(match d.deserialize_any(word)? {
            Value::Number(ms) => Self::Ms(ms),
            Value::Word | Value::List(_) => Self::Auto,
        })
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => s.serialize_str("auto"),
            Self::Ms(ms) => s.serialize_u64(*ms),
        }
    }
}

impl<'de> Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = Word { expecting: "a number of clients or \"all\"", keyword: Some("all"), list: false };
        Ok(match d.deserialize_any(word)? {
            Value::Number(n) => Self::AtLeast(n),
            Value::Word | Value::List(_) => Self::All,
        })
    }
}

impl Serialize for Joined {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => s.serialize_str("all"),
            Self::AtLeast(n) => s.serialize_u64(*n),
        }
    }
}
