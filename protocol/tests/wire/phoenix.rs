//! Phoenix messages: shapes, refs, escapes, nesting, and what is written read again.

use c2m_protocol::phoenix::{
    DecodeError, FieldTooLong, Message, Payload, Ref,
    Serializer::{self, V1, V2},
    decode_binary, decode_server_text, decode_text, encode_binary_client, encode_binary_push, encode_broadcast,
    encode_client, encode_push, encode_reply, parse_reply,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

#[test]
fn vsn_is_negotiated_as_phoenix_does() {
    let cases = [
        (None, Some(V1)),
        (Some("1.0.0"), Some(V1)),
        (Some("1.0.12"), Some(V1)),
        (Some("2.0.0"), Some(V2)),
        (Some("2.0.7"), Some(V2)),
        (Some("2.0.7-rc.1+build.5"), Some(V2)),
        (Some("2.0.0+build"), Some(V2)),
        (Some("2.0.0-rc.1"), None),
        (Some("2.1.0"), None),
        (Some("3.0.0"), None),
        (Some("123.1.1"), None),
        (Some("2.0"), None),
        (Some("2.0.0.0"), None),
        (Some("02.0.0"), None),
        (Some("2.0.07"), None),
        (Some("2.0.0+"), None),
        (Some("2.0.+1"), None),
        (Some(" 2.0.0"), None),
        (Some("abc"), None),
        (Some(""), None),
    ];
    for (vsn, serializer) in cases {
        assert_eq!(Serializer::from_vsn(vsn), serializer, "{vsn:?}");
    }
}

/// Protocol point 21.
#[test]
fn refs_keep_their_type_and_payloads_their_bytes() {
    let payload = "{ \"b\" : 1.50,\t\"a\":\"\\u00e9\" }";
    for (join_ref, reference) in [("\"1\"", "\"2\""), ("5", "6"), ("null", "null"), ("{\"a\":[1]}", "1e3")] {
        let v2 = format!(" [ {join_ref} , {reference},\"rooms:lobby\",\"new:msg\", {payload} , \"extra\", [7] ] ");
        let v1 = format!(
            "{{\"topic\":\"rooms:lobby\",\"event\":\"new:msg\",\"payload\":{payload},\"ref\":{reference},\
             \"join_ref\":{join_ref},\"more\":[{{}}]}}"
        );
        for (serializer, text) in [(V2, v2), (V1, v1)] {
            let message = decode_text(serializer, &text).unwrap();
            assert_eq!((message.join_ref.as_json(), message.reference.as_json()), (join_ref, reference));
            assert_eq!(message.payload, Payload::Json(payload));
            assert!(matches!((message.topic, message.event), (Cow::Borrowed("rooms:lobby"), Cow::Borrowed("new:msg"))));
        }
    }
}

/// Protocol point 19.
#[test]
fn version_one_needs_four_keys_and_takes_the_last_of_each() {
    let whole = r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#;
    assert!(decode_text(V1, whole).unwrap().join_ref.is_null());
    for key in ["topic", "event", "payload", "ref"] {
        let text = whole.replace(&format!("\"{key}\""), "\"other\"");
        assert_eq!(decode_text(V1, &text), Err(DecodeError::Shape), "{key}");
    }
    let twice = r#"{"topic":"old","event":"e","payload":1,"ref":"1","top\u0069c":"new","payload":2}"#;
    let message = decode_text(V1, twice).unwrap();
    assert_eq!((&*message.topic, message.payload), ("new", Payload::Json("2")));
    // An earlier one may be of another type; the last may not.
    let other_first = r#"{"event":{},"topic":[1],"event":"\u0065","topic":"t","payload":{},"ref":"1"}"#;
    let message = decode_text(V1, other_first).unwrap();
    assert_eq!((&*message.topic, &*message.event), ("t", "e"));
    for last in [r#""event":{}"#, r#""topic":7"#, r#""topic":null"#, r#""event":"\ud800""#] {
        let text = whole.replace("\"ref\"", &format!("{last},\"ref\""));
        assert_eq!(decode_text(V1, &text), Err(DecodeError::Shape), "{last}");
    }
}

/// Protocol points 19 and 24.
#[test]
fn wrong_shapes_are_refused() {
    let object = r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#;
    let array = r#"["1","1","t","e",{}]"#;
    let shapes = [
        (V2, object),
        (V1, array),
        (V2, "[]"),
        (V2, "[1,2]"),
        (V2, r#"["1","1","t","e"]"#),
        (V2, r#"["1","1",7,"e",{}]"#),
        (V2, r#"["1","1","t",null,{}]"#),
        (V1, r#"{"topic":7,"event":"e","payload":{},"ref":"1"}"#),
    ];
    for (serializer, text) in shapes {
        assert_eq!(decode_text(serializer, text), Err(DecodeError::Shape), "{text}");
    }
    for serializer in [V1, V2] {
        for text in ["{}", "null", "\"x\"", "7"] {
            assert_eq!(decode_text(serializer, text), Err(DecodeError::Shape), "{text}");
        }
        let torn = [object, array].map(|whole| whole[..whole.len() - 1].to_owned());
        let trailed = [object, array].map(|whole| format!("{whole} x"));
        for text in ["", "abc", "[1 2", "{\"a\" 1}"].map(str::to_owned).iter().chain(&torn).chain(&trailed) {
            assert!(decode_text(serializer, text).is_err(), "{text}");
        }
    }
}

/// Runs on a stack in which a hundred thousand nested calls have no room.
fn on_a_small_stack(run: fn()) {
    std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn deep_nesting_does_not_reach_the_stack() {
    on_a_small_stack(|| {
        let open = "[".repeat(1 << 20);
        let objects = "{\"a\":".repeat(1 << 18);
        for serializer in [V1, V2] {
            assert!(decode_text(serializer, &open).is_err());
            assert!(decode_text(serializer, &objects).is_err());
        }
        let nested = format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19));
        let v2 = format!("[{nested},1,\"t\",\"e\",{nested},{nested}]");
        let v1 = format!("{{\"x\":{nested},\"ref\":{nested},\"topic\":\"t\",\"event\":\"e\",\"payload\":{nested}}}");
        for (serializer, text) in [(V2, v2), (V1, v1)] {
            assert_eq!(decode_text(serializer, &text).unwrap().payload, Payload::Json(&nested));
        }
        let reply = format!("{{\"other\":{nested},\"status\":\"ok\",\"response\":{nested}}}");
        assert_eq!(parse_reply(&reply).unwrap().response, nested);
        assert_eq!(c2m_protocol::stamp::Stamp::find(&reply), None);
    });
}

#[test]
fn a_reply_is_read_in_any_order() {
    for text in [r#"{"response":{"a":1},"status":"ok"}"#, r#"{ "x":0, "status":"ok", "response":{"a":1} }"#] {
        let reply = parse_reply(text).unwrap();
        assert!(reply.ok && reply.status == "ok" && reply.response == r#"{"a":1}"#);
    }
    let refused = parse_reply(r#"{"status":"error","response":"no"}"#).unwrap();
    assert!(!refused.ok && refused.status == "error" && refused.response == "\"no\"");
    for text in [r#"{"status":"ok"}"#, r#"{"response":{}}"#, r#"{"status":1,"response":{}}"#, "[]", "x"] {
        assert_eq!(parse_reply(text), None, "{text}");
    }
}

#[test]
fn a_ref_is_null_by_default_and_quotes_what_it_must() {
    assert_eq!(Ref::default(), Ref::null());
    assert!(Ref::from_json(" null ").is_null() && !Ref::string("null").is_null());
    assert_eq!((Ref::string("1").as_json(), Ref::string("a\"\n").as_json()), ("\"1\"", "\"a\\\"\\n\""));
    assert_eq!(Ref::string("1"), Ref::from_json("\"1\""));
}

/// Protocol points 27 and 31.
#[test]
fn binary_pushes_are_read_by_their_lengths() {
    let message = decode_binary(b"\x00\x01\x02\x0b\x03112rooms:lobbybin\x00\xff").unwrap();
    let expected = Message {
        join_ref: Ref::string("1"),
        reference: Ref::string("12"),
        topic: "rooms:lobby".into(),
        event: "bin".into(),
        payload: Payload::Binary(&[0, 255]),
    };
    assert_eq!(message, expected);
    let empty = decode_binary(&[0; 5]).unwrap();
    assert!(empty.join_ref.is_null() && empty.reference.is_null() && empty.payload == Payload::Binary(b""));
    assert_eq!(decode_binary(b"\x03\0\0\0\0"), Err(DecodeError::Kind(3)));
    assert_eq!(decode_binary(b"\x00\0\0\0\x01\xff"), Err(DecodeError::Utf8));
    for cut in [&b""[..], b"\x00", b"\x00\x01\x01\x01", b"\x00\x01\x01\x01\x01abc"] {
        assert_eq!(decode_binary(cut), Err(DecodeError::Truncated), "{cut:?}");
    }
}

/// Protocol point 29.
#[test]
fn binary_fields_over_255_bytes_are_refused_and_nothing_is_written() {
    let mut out = vec![7];
    let topic = "é".repeat(128);
    let outcome = encode_binary_push(&mut out, &Ref::null(), &topic, "e", b"");
    assert_eq!(outcome, Err(FieldTooLong { field: "topic", bytes: 256 }));
    assert_eq!(out, [7]);
    encode_binary_push(&mut out, &Ref::from_json("7"), &"x".repeat(255), "e", b"").unwrap();
    assert_eq!(out[1..5], [0, 1, 255, 1]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_ref() -> impl Strategy<Value = Ref> {
    prop_oneof![
        Just(Ref::null()),
        any::<u32>().prop_map(|number| Ref::from_json(&number.to_string())),
        ".{0,40}".prop_map(|text| Ref::string(&text)),
    ]
}

/// Writes one message in the form of a serializer.
type Write<'a> = &'a dyn Fn(&mut Vec<u8>, Serializer);

/// The message as JSON, by `serde_json` alone.
fn as_value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn ref_value(reference: &Ref) -> Value {
    serde_json::from_str(reference.as_json()).unwrap()
}

proptest! {
    #[test]
    fn what_a_client_writes_a_server_reads(
        join_ref in any_ref(), reference in any_ref(), topic in ".{0,30}", event in ".{0,30}", payload in any_json(),
    ) {
        let payload = payload.to_string();
        for serializer in [V1, V2] {
            let mut out = Vec::new();
            encode_client(&mut out, serializer, &join_ref, &reference, &topic, &event, &payload);
            let text = String::from_utf8(out).unwrap();
            let message = decode_text(serializer, &text).unwrap();
            let expected = Message {
                join_ref: join_ref.clone(),
                reference: reference.clone(),
                topic: Cow::Borrowed(&topic),
                event: Cow::Borrowed(&event),
                payload: Payload::Json(&payload),
            };
            prop_assert_eq!(message, expected);
        }
    }

    #[test]
    fn what_a_server_writes_is_the_json_it_should_be(
        join_ref in any_ref(), reference in any_ref(), topic in ".{0,30}", event in ".{0,30}", response in any_json(),
    ) {
        let json_text = response.to_string();
        let (join, this) = (ref_value(&join_ref), ref_value(&reference));
        let replied = json!({ "status": event, "response": response });
        let cases: [(Value, Value, &str, Value, Write<'_>); 3] = [
            (join.clone(), this, "phx_reply", replied,
                &|out, s| encode_reply(out, s, &join_ref, &reference, &topic, &event, &json_text)),
            (join, Value::Null, &event, response.clone(),
                &|out, s| encode_push(out, s, &join_ref, &topic, &event, &json_text)),
            (Value::Null, Value::Null, &event, response,
                &|out, s| encode_broadcast(out, s, &topic, &event, &json_text)),
        ];
        for (join, this, event, payload, write) in cases {
            let (mut v1, mut v2) = (Vec::new(), Vec::new());
            write(&mut v1, V1);
            write(&mut v2, V2);
            prop_assert_eq!(as_value(&v1), json!({ "event": event, "payload": payload, "ref": this, "topic": topic }));
            prop_assert_eq!(as_value(&v2), json!([join, this, topic, event, payload]));
            for (serializer, bytes) in [(V1, &v1), (V2, &v2)] {
                let text = str::from_utf8(bytes).unwrap();
                prop_assert_eq!(&*decode_server_text(serializer, text).unwrap().event, event);
            }
        }
    }

    #[test]
    fn binary_messages_of_a_client_are_read_again(
        join_ref in ".{0,20}", reference in ".{0,20}", topic in ".{0,60}", event in ".{0,20}", data: Vec<u8>,
    ) {
        let as_ref = |text: &str| if text.is_empty() { Ref::null() } else { Ref::string(text) };
        let (join_ref, reference) = (as_ref(&join_ref), as_ref(&reference));
        let mut out = Vec::new();
        encode_binary_client(&mut out, &join_ref, &reference, &topic, &event, &data).unwrap();
        let expected = Message {
            join_ref, reference, topic: topic.into(), event: event.into(), payload: Payload::Binary(&data),
        };
        prop_assert_eq!(decode_binary(&out).unwrap(), expected);
    }

    #[test]
    fn random_bytes_never_panic(text in ".{0,80}", bytes: Vec<u8>) {
        let _ = (decode_text(V1, &text), decode_text(V2, &text), decode_binary(&bytes), parse_reply(&text));
    }
}
