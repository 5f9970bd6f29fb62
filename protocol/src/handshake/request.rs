//! Reading a request head. Stateless; everything borrows the caller's input.

use super::{MAX_HEADERS, list_elements};
use std::borrow::Cow;

/// A request head that borrows the bytes it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// Method as sent, for example `GET`.
    pub method: &'a str,
    /// Path of the target as sent (not percent-decoded), without scheme and authority.
    pub path: &'a str,
    /// What follows the first `?` of the target, or nothing.
    pub query: &'a str,
    /// Minor version of HTTP/1: 0 or 1.
    pub minor_version: u8,
    /// Header fields in the order of the wire: name as sent, value as bytes.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// What there is of a request head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Head<'a> {
    /// The blank line that ends the head has not come yet.
    Incomplete,
    /// A whole head.
    Complete {
        /// The head, read.
        request: Request<'a>,
        /// Its length in bytes, blank line included; what follows belongs to the body or to the next protocol.
        consumed: usize,
    },
}

/// Why a request head cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeadError {
    /// More bytes than allowed, or more than [`MAX_HEADERS`] fields.
    #[error("request head too large")]
    TooLarge,
    /// Not an HTTP/1 request head.
    #[error("malformed request head")]
    Malformed,
}

impl HeadError {
    /// Status of the refusal: 431 (RFC 6585 §5) or 400.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Malformed => 400,
        }
    }
}

/// Reads a request head from the front of `input`. Errors: a head over `max_head_bytes` bytes, complete or not, or one
/// that is not HTTP/1.
pub fn parse_request(input: &[u8], max_head_bytes: usize) -> Result<Head<'_>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut fields);
    let consumed = match parsed.parse(input) {
        Ok(httparse::Status::Complete(consumed)) if consumed <= max_head_bytes => consumed,
        Ok(httparse::Status::Partial) if input.len() < max_head_bytes => return Ok(Head::Incomplete),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(_) => return Err(HeadError::Malformed),
    };
    let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HeadError::Malformed);
    };
    let (path, query) = split_target(target);
    let headers = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
    Ok(Head::Complete { request: Request { method, path, query, minor_version, headers }, consumed })
}

/// Path and query of a target in origin form or absolute form (RFC 9112 §3.2).
fn split_target(target: &str) -> (&str, &str) {
    let origin_form = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        _ => target,
    };
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

impl<'a> Request<'a> {
    /// Values of every field called `name` (case does not matter) that are UTF-8, in the order of the wire.
    pub fn headers<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'_, 'a, 'n> {
        self.headers
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| str::from_utf8(value).ok())
    }

    /// Value of the first field called `name` (case does not matter).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// Whether a field called `name` lists `token`; case matters in neither.
    pub(super) fn header_lists(&self, name: &str, token: &str) -> bool {
        self.headers(name).flat_map(list_elements).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Value of the first query parameter called `name`, decoded as `application/x-www-form-urlencoded`. Bytes that do
    /// not decode to UTF-8 give `None`, as if the parameter were absent.
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| form_decode(key).is_some_and(|key| key == name))
            .and_then(|(_, value)| form_decode(value))
    }

    /// Whether the request asks for WebSocket at all: an `Upgrade` field lists `websocket`. Whether it does so rightly is
    /// for [`check_upgrade`](super::check_upgrade) to say.
    pub fn wants_upgrade(&self) -> bool {
        self.header_lists("upgrade", "websocket")
    }
}

/// Decodes `+` and `%XX`; a `%` without two hexadecimal digits stands for itself (WHATWG URL, percent-decoding).
fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['+', '%']) {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        decoded.push(match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'+', _, _) => b' ',
            (b'%', Some(high), Some(low)) => {
                at += 2;
                (high * 16 + low) as u8
            }
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}
