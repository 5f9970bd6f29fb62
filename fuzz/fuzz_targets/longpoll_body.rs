//! Input: the content type up to the first line feed, then the body of a longpoll POST.
//!
//! - Lines are those of [`str::lines`], where the body is text; there are at most a hundred messages.
//! - Messages written as lines read the same.

#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use c2m_protocol::longpoll::{
    Body::{self, Binary, Text},
    BodyError, MAX_MESSAGES, messages,
};
use libfuzzer_sys::fuzz_target;

const NDJSON: Option<&str> = Some("application/x-ndjson");

fuzz_target!(|data: &[u8]| check(data));

fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (Some(content_type), Some(body)) = (parts.next(), parts.next()) else { return };
    let content_type = str::from_utf8(content_type).ok();
    let media_type = content_type.and_then(|text| text.split(';').next()).map(|text| text.trim_matches([' ', '\t']));
    let is_ndjson = media_type.is_some_and(|text| text.eq_ignore_ascii_case("application/x-ndjson"));

    let found = messages(content_type, body);
    if !is_ndjson {
        return assert_eq!(found, str::from_utf8(body).map(|text| vec![Text(text)]).map_err(|_| BodyError::Utf8));
    }
    if let Ok(text) = str::from_utf8(body) {
        let lines = text.lines().filter(|line| !line.is_empty()).take(MAX_MESSAGES);
        let expected: Result<Vec<Body<'_>>, BodyError> = lines
            .map(|line| match line.as_bytes()[0] {
                b'[' | b'{' => Ok(Text(line)),
                _ => STANDARD.decode(line).map(Binary).map_err(|_| BodyError::Base64),
            })
            .collect();
        assert_eq!(found, expected);
    }
    if let Ok(found) = found {
        assert!(found.len() <= MAX_MESSAGES);
        let line = |message: &Body<'_>| match message {
            Text(text) => (*text).to_owned(),
            Binary(bytes) => STANDARD.encode(bytes),
        };
        let again = found.iter().map(line).collect::<Vec<_>>().join("\r\n");
        assert_eq!(messages(NDJSON, again.as_bytes()), Ok(found));
    }
}
