//! The delivery stamp: exact size, any key order, nothing found where there is none.

use c2m_protocol::stamp::{MIN_PAYLOAD_BYTES, Stamp};
use proptest::prelude::*;

const STAMP: Stamp = Stamp { sequence: 0x1a, due_ns: 0xbeef, sent_ns: u64::MAX };
const BODY: &str = "c2m0000001a000000000000beefffffffffffffffff";

fn payload(stamp: Stamp, payload_bytes: usize) -> String {
    let mut out = Vec::new();
    stamp.encode(&mut out, payload_bytes);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_payload_is_written_as_documented() {
    assert_eq!(payload(STAMP, MIN_PAYLOAD_BYTES), format!("{{\"body\":\"{BODY}\",\"user\":\"\"}}"));
    assert_eq!(payload(STAMP, 67), format!("{{\"body\":\"{BODY}xxx\",\"user\":\"\"}}"));
}

#[test]
fn a_stamp_is_found_in_any_key_order_and_spacing() {
    for text in [
        format!("{{\"user\":\"\",\"body\":\"{BODY}xx\"}}"),
        format!(" {{ \"body\" : \"{BODY}\" , \"user\" : null }} "),
        format!("{{\"bod\\u0079\":\"\\u0063{}\",\"user\":[{{}}]}}", &BODY[1..]),
        format!("{{\"user\":{{\"body\":\"c2m\"}},\"body\":\"{BODY}\"}}"),
    ] {
        assert_eq!(Stamp::find(&text), Some(STAMP), "{text}");
    }
}

#[test]
fn nothing_is_found_where_there_is_no_stamp() {
    for text in [
        "{}".to_owned(),
        "null".to_owned(),
        r#"{"body":null}"#.to_owned(),
        r#"{"body":"hello"}"#.to_owned(),
        format!("{{\"user\":\"{BODY}\"}}"),
        format!("{{\"user\":{{\"body\":\"{BODY}\"}}}}"),
        format!("{{\"text\":\"\\\"body\\\":\\\"{BODY}\"}}"),
        format!("{{\"body\":\"{}\"}}", &BODY[..BODY.len() - 1]),
        format!("{{\"body\":\"{}\"}}", BODY.replace("1a", "1A")),
        format!("{{\"body\":\"{}\"}}", BODY.replace("c2m0", "c2m+")),
        format!("\"{BODY}\""),
    ] {
        assert_eq!(Stamp::find(&text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_stamp_has_the_size_asked_for_and_is_found_again(
        sequence: u32, due_ns: u64, sent_ns: u64, payload_bytes in MIN_PAYLOAD_BYTES..5000,
    ) {
        let stamp = Stamp { sequence, due_ns, sent_ns };
        let text = payload(stamp, payload_bytes);
        prop_assert_eq!(text.len(), payload_bytes);
        prop_assert_eq!(Stamp::find(&text), Some(stamp));
        // A server that decodes and encodes the payload again may order and space it its own way.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Stamp::find(&serde_json::to_string_pretty(&value).unwrap()), Some(stamp));
    }
}
