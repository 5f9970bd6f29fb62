//! Bodies of long polling: what one request carries (`Phoenix.Transports.LongPoll`). Stateless.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Messages that one request may carry; further ones are ignored (as Phoenix since 1.8.9).
pub const MESSAGES_MAX: usize = 100;

/// Type of a body with one message per line.
const LINES: &str = "application/x-ndjson";

/// One message from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// What a text frame would carry.
    Text(&'a str),
    /// What a binary frame would carry.
    Binary(Vec<u8>),
}

/// Why a body holds no messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// Not UTF-8.
    #[error("body is not UTF-8")]
    Utf8,
    /// A line that is neither JSON nor Base64.
    #[error("line {0} is neither a message nor Base64")]
    Base64(usize),
}

/// The messages of a request body.
///
/// With the content type `application/x-ndjson` that is one per line, up to [`MESSAGES_MAX`], empty lines left out: a line
/// that begins with `[`, or `{` as in version 1, is text, any other the Base64 of a binary message. With any other content
/// type the whole body is one text. Errors: not UTF-8, or a line that is not Base64; then no message of the body counts.
pub fn messages<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Vec<Body<'a>>, BodyError> {
    let text = str::from_utf8(body).map_err(|_| BodyError::Utf8)?;
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case(LINES) {
        return Ok(vec![Body::Text(text)]);
    }
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    let message = |(at, line): (usize, &'a str)| {
        if line.starts_with(['[', '{']) {
            return Ok(Body::Text(line));
        }
        BASE64_STANDARD.decode(line).map(Body::Binary).map_err(|_| BodyError::Base64(at + 1))
    };
    lines.filter(|(_, line)| !line.is_empty()).take(MESSAGES_MAX).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content type, body, and what is in it.
    type Case = (Option<&'static str>, &'static str, Result<Vec<Body<'static>>, BodyError>);

    const ND: Option<&str> = Some(LINES);

    #[test]
    fn a_body_is_lines_or_one_message() {
        let binary = |bytes: &[u8]| Body::Binary(bytes.to_vec());
        let table: [Case; 11] = [
            (ND, "[1]\n{\"a\":1}\r\n\n[2]", Ok(vec![Body::Text("[1]"), Body::Text("{\"a\":1}"), Body::Text("[2]")])),
            (Some("Application/X-NDJSON; charset=utf-8"), "[1]\n[2]", Ok(vec![Body::Text("[1]"), Body::Text("[2]")])),
            (ND, "AAH/\n[1]", Ok(vec![binary(&[0, 1, 255]), Body::Text("[1]")])),
            (ND, "", Ok(vec![])),
            (ND, "[1]\nno base64", Err(BodyError::Base64(2))),
            (ND, "AAE", Err(BodyError::Base64(1))),
            (ND, " [1]", Err(BodyError::Base64(1))),
            (Some("application/json"), "[1]\n[2]", Ok(vec![Body::Text("[1]\n[2]")])),
            (Some("application/x-ndjsonx"), "x", Ok(vec![Body::Text("x")])),
            (None, "", Ok(vec![Body::Text("")])),
            (Some(""), "[1]", Ok(vec![Body::Text("[1]")])),
        ];
        for (content_type, body, expected) in table {
            assert_eq!(messages(content_type, body.as_bytes()), expected, "{content_type:?} {body:?}");
        }
        assert_eq!(messages(ND, b"[\"\xff\"]"), Err(BodyError::Utf8));
    }

    #[test]
    fn a_hundred_messages_count_and_what_follows_is_not_looked_at() {
        let lines: Vec<String> =
            (0..150).map(|i| if i < 100 { format!("[{i}]") } else { "no base64".to_owned() }).collect();
        let body = lines.join("\n");
        let read = messages(ND, body.as_bytes()).expect("the first hundred are messages");
        assert_eq!((read.len(), &read[99]), (100, &Body::Text("[99]")));
    }
}
