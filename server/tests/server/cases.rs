//! Failures that others reported in public, as far as no other test shows them; those that do name their case as well. The
//! client's side is in `loadgen/tests/hostile_server.rs`.

use std::io::Write as _;

use crate::common::{Client, JOIN, JOINED, TestServer, V2, count, expect_close, raw, read_frame, text_frame};

const V1: &str = "/socket/websocket?vsn=1.0.0";

/// A frame as a client masks it, with a first byte of the caller's choice.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = text_frame(&"x".repeat(payload.len()));
    frame[0] = first;
    let at = frame.len() - payload.len();
    let mask: [u8; 4] = frame[at - 4..at].try_into().expect("four bytes");
    for (i, byte) in payload.iter().enumerate() {
        frame[at + i] = byte ^ mask[i % 4];
    }
    frame
}

/// C06: phoenixframework/phoenix#1483, #3171 and others.
#[test]
fn the_newest_join_of_a_topic_wins_and_is_counted_once() {
    let server = TestServer::default();
    let mut client = Client::joined(server.address());
    client.send(r#"["2","2","rooms:lobby","phx_join",{}]"#);
    client.expect(&[
        r#"["2","2","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
        r#"["1","1","rooms:lobby","phx_close",{}]"#,
    ]);
    let message = r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#;
    client.ask(
        r#"["2","3","rooms:lobby","new:msg",{"body":1,"user":2}]"#,
        &[message, r#"["2","3","rooms:lobby","phx_reply",{"response":{"msg":1},"status":"ok"}]"#],
    );
    server.wait_for("one member", |stats| (stats.joined, stats.joins) == (1, 2));

    let mut old = Client::connect(server.address(), V1);
    for reference in 1..=2 {
        old.send(format!(r#"{{"topic":"rooms:lobby","event":"phx_join","payload":{{}},"ref":"{reference}"}}"#));
        old.expect(&[&format!(
            r#"{{"event":"phx_reply","payload":{{"response":{{}},"status":"ok"}},"ref":"{reference}","topic":"rooms:lobby"}}"#
        )]);
    }
    old.expect(&[r#"{"event":"phx_close","payload":{},"ref":null,"topic":"rooms:lobby"}"#]);
    old.expect_nothing();
    server.wait_for("two members", |stats| (stats.joined, stats.joins) == (2, 4));
}

/// C07: phoenixframework/phoenix#2947, fbonetti/elm-phoenix-socket#31.
#[test]
fn the_wrong_form_of_a_message_ends_that_connection_alone() {
    let server = TestServer::default();
    let mut others: Vec<Client> = (0..100).map(|_| Client::joined(server.address())).collect();
    let object = r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#;
    let array = r#"[null,"1","phoenix","heartbeat",{}]"#;
    let malformed = ["{}", "[]", "[1,2]", "null", "\"x\""];
    let deep = "[".repeat(60_000);
    let of = |path, wrong| malformed.into_iter().chain([wrong, &*deep]).map(move |text| (path, text));
    let all: Vec<_> = of(V1, array).chain(of(V2, object)).collect();
    for (path, text) in &all {
        let mut stream = raw(server.address(), path);
        stream.write_all(&text_frame(text)).expect("sent");
        expect_close(&mut stream, 1011);
    }
    server.wait_for("each is counted", |stats| count(stats, "malformed", 1011) == all.len() as u64);
    others.iter_mut().for_each(Client::expect_nothing);
}

/// C10: denoland/fastwebsockets PR#123, crossbario/autobahn-testsuite#58 and others.
#[test]
fn a_text_cut_inside_a_character_is_passed_on_whole() {
    let server = TestServer::default();
    let mut other = Client::joined(server.address());
    // U+1F600, cut after its second byte.
    let push = r#"["1","2","rooms:lobby","new:msg",{"body":"😀","user":"a"}]"#.as_bytes();
    let cut = push.windows(4).position(|bytes| bytes == "😀".as_bytes()).expect("there") + 2;
    let mut stream = raw(server.address(), V2);
    stream.write_all(&text_frame(JOIN)).expect("sent");
    assert_eq!(read_frame(&mut stream), (0x81, JOINED.as_bytes().to_vec()));
    stream.write_all(&masked(0x01, &push[..cut])).expect("sent");
    stream.write_all(&masked(0x80, &push[cut..])).expect("sent");
    other.expect(&[r#"[null,null,"rooms:lobby","new:msg",{"body":"😀","user":"a"}]"#]);
}
