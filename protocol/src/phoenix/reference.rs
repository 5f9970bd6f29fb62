//! Refs. A joined client keeps its join's ref for as long as it is joined, so the size of one counts millions of times.

use compact_str::CompactString;
use std::borrow::Cow;

/// A `ref` or `join_ref` exactly as it came: raw JSON text (`"1"`, `7`, `null`), echoed with its type. Up to 24 bytes of
/// it are held in place, longer ones on the heap.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ref(CompactString);

const _: () = assert!(size_of::<Ref>() == 24 && size_of::<Option<Ref>>() == 24);

impl Ref {
    /// The absent ref.
    pub const fn null() -> Self {
        Self(CompactString::const_new("null"))
    }

    /// Whether this is JSON null.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// A ref from the JSON text of one value, which the caller has checked to be that.
    pub fn from_json(json: &str) -> Self {
        Self(CompactString::new(json.trim_ascii()))
    }

    /// A ref that is the JSON string `text`: `1` becomes `"1"`.
    pub fn string(text: &str) -> Self {
        if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            let quoted = serde_json::to_string(text).expect("a string is always JSON");
            return Self(CompactString::from(quoted));
        }
        let mut json = CompactString::with_capacity(text.len() + 2);
        json.push('"');
        json.push_str(text);
        json.push('"');
        Self(json)
    }

    /// The ref as the plain string that binary frames carry: null is empty, a string its text, anything else its JSON.
    pub(super) fn as_plain(&self) -> Cow<'_, str> {
        let json = self.as_json();
        match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
            Some(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
            None if self.is_null() => Cow::Borrowed(""),
            None => Cow::Borrowed(json),
        }
    }
}

impl Default for Ref {
    fn default() -> Self {
        Self::null()
    }
}
