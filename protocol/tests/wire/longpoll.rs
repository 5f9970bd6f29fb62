//! Bodies of longpoll POSTs: lines, what a line is, and what is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use c2m_protocol::longpoll::{
    Body::{self, Binary, Text},
    BodyError, MAX_MESSAGES, messages,
};
use proptest::prelude::*;

const NDJSON: Option<&str> = Some("application/x-ndjson");

#[test]
fn lines_are_messages_and_their_first_byte_says_of_which_kind() {
    let push: &[u8] = b"\x00\x01\x01\x01\x0112te\xff";
    let cases: &[(&str, Vec<Body<'_>>)] = &[
        ("", vec![]),
        ("\n\r\n\n", vec![]),
        (r#"["1","1","t","e",{}]"#, vec![Text(r#"["1","1","t","e",{}]"#)]),
        ("[1]\n{}\n", vec![Text("[1]"), Text("{}")]),
        ("[1]\r\n\r\n\n{}\r\n[\"é\"]", vec![Text("[1]"), Text("{}"), Text("[\"é\"]")]),
        // Text is not looked into: what is no message is the channel's affair.
        ("[\n{", vec![Text("["), Text("{")]),
        // A carriage return is a line's end only before a line feed; in JSON it is white space.
        ("[1]\r", vec![Text("[1]\r")]),
        ("[1,\r2]\n", vec![Text("[1,\r2]")]),
        ("AAEBAQExMnRl/w==", vec![Binary(push.to_vec())]),
        ("[1]\nAAEBAQExMnRl/w==\r\n[2]", vec![Text("[1]"), Binary(push.to_vec()), Text("[2]")]),
        ("++//\n", vec![Binary(vec![0xfb, 0xef, 0xff])]),
    ];
    for (body, expected) in cases {
        assert_eq!(messages(NDJSON, body.as_bytes()).as_ref(), Ok(expected), "{body:?}");
    }
}

#[test]
fn the_content_type_decides_whether_lines_count() {
    let body = b"[1]\n[2]";
    for ndjson in [
        "application/x-ndjson",
        "Application/X-NDJSON",
        "application/x-ndjson; charset=utf-8",
        "application/x-ndjson ;a=b;c",
        "\tapplication/x-ndjson ",
    ] {
        assert_eq!(messages(Some(ndjson), body), Ok(vec![Text("[1]"), Text("[2]")]), "{ndjson:?}");
    }
    let others = ["", "application/json", "text/plain;application/x-ndjson", "application/x-ndjsonx", "x-ndjson"];
    for other in others.map(Some).into_iter().chain([None]) {
        assert_eq!(messages(other, body), Ok(vec![Text("[1]\n[2]")]), "{other:?}");
        assert_eq!(messages(other, b""), Ok(vec![Text("")]), "{other:?}");
        assert_eq!(messages(other, b"AAEB"), Ok(vec![Text("AAEB")]), "{other:?}");
        assert_eq!(messages(other, b"[\xff]"), Err(BodyError::Utf8), "{other:?}");
    }
}

#[test]
fn a_hundred_messages_are_read_and_the_rest_is_not_looked_at() {
    let hundred = "\n[1]\n".repeat(MAX_MESSAGES);
    for rest in ["", "[2]\n", "\n\n", "no base64\n"] {
        let body = format!("{hundred}{rest}");
        assert_eq!(messages(NDJSON, body.as_bytes()), Ok(vec![Text("[1]"); 100]), "{rest:?}");
    }
}

#[test]
fn one_bad_line_spoils_the_body() {
    let cases: &[(&[u8], BodyError)] = &[
        (b"[1]\n[\"\xff\"]", BodyError::Utf8),
        (b"{\xed\xa0\x80}", BodyError::Utf8),
        // JSON, but of no message's kind; white space before one; neither.
        (b"\"x\"", BodyError::Base64),
        (b" [1]", BodyError::Base64),
        (b"[1]\n\xff", BodyError::Base64),
        // No padding, too much of it, in the middle; bits beyond the last byte; the URL alphabet; white space.
        (b"AA", BodyError::Base64),
        (b"AA=", BodyError::Base64),
        (b"AAA==", BodyError::Base64),
        (b"AA==AAAA", BodyError::Base64),
        (b"AB==", BodyError::Base64),
        (b"--__", BodyError::Base64),
        (b"AAAA ", BodyError::Base64),
        (b"AAAA\r", BodyError::Base64),
        (b"=", BodyError::Base64),
    ];
    for (body, error) in cases {
        assert_eq!(messages(NDJSON, body), Err(*error), "{}", body.escape_ascii());
    }
}

/// A message and the line that says it.
fn said() -> impl Strategy<Value = (Result<String, Vec<u8>>, String)> {
    let text = "[\\[{][^\n]{0,30}[^\r\n]".prop_map(|text| (Ok(text.clone()), text));
    let binary = prop::collection::vec(any::<u8>(), 1..60).prop_map(|bytes| {
        let line = STANDARD.encode(&bytes);
        (Err(bytes), line)
    });
    prop_oneof![text, binary]
}

proptest! {
    #[test]
    fn what_is_written_in_lines_is_read_from_them(
        all in prop::collection::vec((said(), any::<bool>(), 0..3usize), 0..130),
    ) {
        let mut body = String::new();
        for ((_, line), is_crlf, blank_lines) in &all {
            let end = if *is_crlf { "\r\n" } else { "\n" };
            body.push_str(line);
            body.push_str(&end.repeat(blank_lines + 1));
        }
        let expected: Vec<Body<'_>> = all.iter().take(MAX_MESSAGES).map(|((message, _), ..)| match message {
            Ok(text) => Text(text),
            Err(bytes) => Binary(bytes.clone()),
        }).collect();
        prop_assert_eq!(messages(NDJSON, body.as_bytes()), Ok(expected));
    }
}
