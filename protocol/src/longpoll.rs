//! Bodies of longpoll POSTs (`Phoenix.Transports.LongPoll`). Stateless; text borrows the body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Most messages read from one body (Phoenix since 1.8.6); what follows them is not looked at.
pub const MAX_MESSAGES: usize = 100;

/// Media type of a body with a message per line.
const NDJSON: &str = "application/x-ndjson";

/// One message of a body: what the frame of a WebSocket would have carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// Text of a text frame.
    Text(&'a str),
    /// Payload of a binary frame.
    Binary(Vec<u8>),
}

/// Why a body has no messages. One bad line spoils all: none of the body may be acted on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// A text message is not UTF-8.
    #[error("longpoll message is not UTF-8")]
    Utf8,
    /// A line that is neither a JSON array nor an object is not base64 either.
    #[error("longpoll line is neither JSON nor base64")]
    Base64,
}

/// Takes the body of a POST apart, in the order of its messages.
///
/// With the content type `application/x-ndjson` (in any case, parameters ignored) each line, ended by `\n` or `\r\n`, is
/// a message; empty lines are skipped and at most [`MAX_MESSAGES`] are read. A line that begins with `[` or `{` is text,
/// any other is the base64 (RFC 4648 §4, padded) of a binary frame. With another content type, or none, the whole body is
/// one text message. Memory: at most three quarters of the body beside [`MAX_MESSAGES`] entries.
pub fn messages<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Vec<Body<'a>>, BodyError> {
    if !content_type.is_some_and(is_ndjson) {
        return Ok(vec![text(body)?]);
    }
    lines(body).filter(|line| !line.is_empty()).take(MAX_MESSAGES).map(message).collect()
}

fn is_ndjson(content_type: &str) -> bool {
    let media_type = content_type.split_once(';').map_or(content_type, |(media_type, _)| media_type);
    media_type.trim_matches([' ', '\t']).eq_ignore_ascii_case(NDJSON)
}

/// The lines of `body` as [`str::lines`] gives them: a `\r` belongs to the end of a line only before a `\n`.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split_inclusive(|&byte| byte == b'\n').map(|line| match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    })
}

fn message(line: &[u8]) -> Result<Body<'_>, BodyError> {
    match line {
        [b'[' | b'{', ..] => text(line),
        _ => STANDARD.decode(line).map(Body::Binary).map_err(|_| BodyError::Base64),
    }
}

fn text(bytes: &[u8]) -> Result<Body<'_>, BodyError> {
    str::from_utf8(bytes).map(Body::Text).map_err(|_| BodyError::Utf8)
}
