//! Messages byte for byte as a Phoenix 1.8.12 server writes them, recorded from one.

use c2m_protocol::phoenix::{
    Ref,
    Serializer::{self, V1, V2},
    encode_binary_broadcast, encode_binary_push, encode_binary_reply, encode_broadcast, encode_close, encode_error,
    encode_push, encode_reply,
};

const LOBBY: &str = "rooms:lobby";

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn reply(serializer: Serializer, refs: [&str; 2], topic: &str, status: &str, response: &str) -> String {
    let [join_ref, reference] = refs.map(Ref::from_json);
    text(|out| encode_reply(out, serializer, &join_ref, &reference, topic, status, response))
}

/// Protocol points 17, 22 and 26.
#[test]
fn replies_are_those_of_phoenix() {
    let unmatched = r#"{"reason":"unmatched topic"}"#;
    let crashed = r#"{"reason":"join crashed"}"#;
    let cases = [
        (
            V1,
            ["0", "0"],
            LOBBY,
            "ok",
            "{}",
            r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":0,"topic":"rooms:lobby"}"#,
        ),
        (
            V1,
            ["null", "7"],
            "phoenix",
            "ok",
            "{}",
            r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":7,"topic":"phoenix"}"#,
        ),
        (V2, ["5", "6"], LOBBY, "ok", "{}", r#"[5,6,"rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#),
        (
            V2,
            ["5", "7"],
            LOBBY,
            "ok",
            r#"{"msg":"x"}"#,
            r#"[5,7,"rooms:lobby","phx_reply",{"response":{"msg":"x"},"status":"ok"}]"#,
        ),
        (
            V2,
            ["null", r#""1""#],
            LOBBY,
            "ok",
            "{}",
            r#"[null,"1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
        ),
        (
            V2,
            ["null", "null"],
            "phoenix",
            "ok",
            "{}",
            r#"[null,null,"phoenix","phx_reply",{"response":{},"status":"ok"}]"#,
        ),
        (
            V2,
            ["null", r#""1""#],
            "phoenix",
            "error",
            unmatched,
            r#"[null,"1","phoenix","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#,
        ),
        (
            V2,
            [r#""1""#, r#""1""#],
            "rooms:joincrash",
            "error",
            crashed,
            r#"["1","1","rooms:joincrash","phx_reply",{"response":{"reason":"join crashed"},"status":"error"}]"#,
        ),
    ];
    for (serializer, refs, topic, status, response, golden) in cases {
        assert_eq!(reply(serializer, refs, topic, status, response), golden);
    }
}

/// Protocol points 18 and 23.
#[test]
fn pushes_and_broadcasts_are_those_of_phoenix() {
    let join = |serializer, join_ref: &str| {
        let join_ref = Ref::from_json(join_ref);
        text(|out| encode_push(out, serializer, &join_ref, LOBBY, "join", r#"{"status":"connected"}"#))
    };
    assert_eq!(join(V1, "0"), r#"{"event":"join","payload":{"status":"connected"},"ref":null,"topic":"rooms:lobby"}"#);
    assert_eq!(join(V2, "5"), r#"[5,null,"rooms:lobby","join",{"status":"connected"}]"#);
    let broadcast = |serializer, event, payload| text(|out| encode_broadcast(out, serializer, LOBBY, event, payload));
    assert_eq!(
        broadcast(V1, "user:entered", r#"{"user":null}"#),
        r#"{"event":"user:entered","payload":{"user":null},"ref":null,"topic":"rooms:lobby"}"#
    );
    assert_eq!(
        broadcast(V2, "new:msg", r#"{"body":"x","user":null}"#),
        r#"[null,null,"rooms:lobby","new:msg",{"body":"x","user":null}]"#
    );
}

#[test]
fn closes_and_errors_carry_the_join_ref_twice() {
    let one = Ref::string("1");
    assert_eq!(text(|out| encode_close(out, V2, &one, LOBBY)), r#"["1","1","rooms:lobby","phx_close",{}]"#);
    assert_eq!(text(|out| encode_close(out, V2, &Ref::null(), LOBBY)), r#"[null,null,"rooms:lobby","phx_close",{}]"#);
    assert_eq!(
        text(|out| encode_error(out, V2, &one, LOBBY, r#"{"reason":"channel_crash"}"#)),
        r#"["1","1","rooms:lobby","phx_error",{"reason":"channel_crash"}]"#
    );
    assert_eq!(
        text(|out| encode_close(out, V1, &one, LOBBY)),
        r#"{"event":"phx_close","payload":{},"ref":"1","topic":"rooms:lobby"}"#
    );
    assert_eq!(
        text(|out| encode_error(out, V1, &one, LOBBY, "{}")),
        r#"{"event":"phx_error","payload":{},"ref":"1","topic":"rooms:lobby"}"#
    );
}

/// Protocol point 28.
#[test]
fn binary_messages_are_those_of_phoenix() {
    let (mut broadcast, mut push, mut reply) = (Vec::new(), Vec::new(), Vec::new());
    let (one, two) = (Ref::string("1"), Ref::string("2"));
    encode_binary_broadcast(&mut broadcast, LOBBY, "bin", b"").unwrap();
    encode_binary_push(&mut push, &one, LOBBY, "binpush", &[0, 1]).unwrap();
    encode_binary_reply(&mut reply, &one, &two, LOBBY, "ok", &[3, 4]).unwrap();
    assert_eq!(broadcast, b"\x02\x0b\x03rooms:lobbybin");
    assert_eq!(push, b"\x00\x01\x0b\x071rooms:lobbybinpush\x00\x01");
    assert_eq!(reply, b"\x01\x01\x01\x0b\x0212rooms:lobbyok\x03\x04");
}
