//! Phoenix channels: each expectation is what a Phoenix 1.8.12 server was seen to send.

use crate::common::{Client, JOIN, JOINED, TestServer, V2, config};
use c2m_server::Config;
use tokio_tungstenite::tungstenite::Message;

const V1: &str = "/socket/websocket";
const UNMATCHED_3: &str =
    r#"[null,"3","rooms:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#;

/// Protocol points 22, 23, 26 and 42.
#[test]
fn a_message_comes_back_as_broadcast_and_then_as_reply() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"[5,6,"rooms:lobby","phx_join",{}]"#,
        &[r#"[5,6,"rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    client.ask(
        r#"[5,7,"rooms:lobby","new:msg",{"body":"x"}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"body":"x","user":null}]"#,
            r#"[5,7,"rooms:lobby","phx_reply",{"response":{"msg":"x"},"status":"ok"}]"#,
        ],
    );
    client.ask(
        r#"[5,"8","rooms:lobby","new:msg",{}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"body":null,"user":null}]"#,
            r#"[5,"8","rooms:lobby","phx_reply",{"response":{"msg":null},"status":"ok"}]"#,
        ],
    );
    client.ask(
        r#"[5,"9","rooms:lobby","new:msg",{"user":"u", "body":{"a":[1,"😀"]}}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"user":"u", "body":{"a":[1,"😀"]}}]"#,
            r#"[5,"9","rooms:lobby","phx_reply",{"response":{"msg":{"a":[1,"😀"]}},"status":"ok"}]"#,
        ],
    );
}

/// Protocol points 16 to 18, 20 and 21.
#[test]
fn version_1_speaks_in_objects() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), V1);
    client.ask(
        r#"{"topic":"rooms:lobby","event":"phx_join","payload":{},"ref":0}"#,
        &[r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":0,"topic":"rooms:lobby"}"#],
    );
    client.ask(
        r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":7}"#,
        &[r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":7,"topic":"phoenix"}"#],
    );
    let broadcast = r#"{"event":"new:msg","payload":{"body":1,"user":2},"ref":null,"topic":"rooms:lobby"}"#;
    client.ask(
        r#"{"topic":"rooms:lobby","event":"new:msg","payload":{"body":1,"user":2},"ref":8}"#,
        &[
            broadcast,
            r#"{"event":"phx_reply","payload":{"response":{"msg":1},"status":"ok"},"ref":8,"topic":"rooms:lobby"}"#,
        ],
    );
    // A second join of the topic, which has no join ref either, leaves one membership.
    client.send(r#"{"topic":"rooms:lobby","event":"phx_join","payload":{},"ref":9}"#);
    client.expect(&[
        r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":9,"topic":"rooms:lobby"}"#,
        r#"{"event":"phx_close","payload":{},"ref":null,"topic":"rooms:lobby"}"#,
    ]);
    let mut other = Client::joined(server.address());
    other.send(r#"["1","2","rooms:lobby","new:msg",{"body":1,"user":2}]"#);
    client.expect(&[broadcast]);
    client.expect_nothing();
    assert_eq!(server.running().stats().joined, 2);
    // JSON in a binary frame is the same to version 1.
    client.send(Message::Binary(r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#.into()));
    client.expect(&[r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"1","topic":"phoenix"}"#]);
}

/// Protocol point 54.
#[test]
fn heartbeats_need_no_join() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"[null,null,"phoenix","heartbeat",{}]"#,
        &[r#"[null,null,"phoenix","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    client.ask(
        r#"["9","1","phoenix","heartbeat",{"a":1},"sixth"]"#,
        &[r#"[null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    client.ask(
        r#"[null,"1","phoenix","other",{}]"#,
        &[r#"[null,"1","phoenix","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#],
    );
}

/// Protocol points 33, 35 and 36.
#[test]
fn rooms_other_than_the_lobby_refuse_and_the_socket_stays() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"["1","1","rooms:attic","phx_join",{}]"#,
        &[r#"["1","1","rooms:attic","phx_reply",{"response":{"reason":"unauthorized"},"status":"error"}]"#],
    );
    client.ask(
        r#"["1","1","users:1","phx_join",{}]"#,
        &[r#"[null,"1","users:1","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#],
    );
    client.ask(r#"["1","3","rooms:lobby","new:msg",{}]"#, &[UNMATCHED_3]);
    client.send(Message::Binary(b"\x00\x01\x01\x0b\x0312rooms:lobbybin\x00\x01".as_slice().into()));
    client.expect(&[
        r#"[null,"2","rooms:lobby","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#,
    ]);
    client.ask(JOIN, &[JOINED]);
}

/// Protocol point 39; C06.
#[test]
fn a_second_join_of_a_topic_replaces_the_first() {
    let server = TestServer::default();
    let mut client = Client::joined(server.address());
    client.ask(
        r#"["2","2","rooms:lobby","phx_join",{}]"#,
        &[
            r#"["2","2","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
            r#"["1","1","rooms:lobby","phx_close",{}]"#,
        ],
    );
    client.ask(
        r#"["2","3","rooms:lobby","new:msg",{"body":1,"user":2}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#,
            r#"["2","3","rooms:lobby","phx_reply",{"response":{"msg":1},"status":"ok"}]"#,
        ],
    );
    server.wait_for("one membership", |stats| stats.joined == 1 && stats.joins == 2);
}

/// Protocol points 48 to 50.
#[test]
fn leaving_is_answered_and_closed_and_leaving_again_only_answered() {
    let server = TestServer::default();
    let mut client = Client::joined(server.address());
    client.ask(
        r#"["1","2","rooms:lobby","phx_leave",{}]"#,
        &[
            r#"["1","2","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
            r#"["1","1","rooms:lobby","phx_close",{}]"#,
        ],
    );
    client.ask(
        r#"["1","3","rooms:lobby","phx_leave",{}]"#,
        &[r#"["1","3","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    let mut other = Client::joined(server.address());
    other.send(r#"["1","2","rooms:lobby","new:msg",{"body":1,"user":2}]"#);
    other.expect(&[r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#]);
    client.expect_nothing();
    client.ask(
        r#"["4","4","rooms:lobby","phx_join",{}]"#,
        &[r#"["4","4","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#],
    );
}

/// Protocol points 20 and 45.
#[test]
fn a_join_without_join_ref_answers_to_its_ref_and_closes_with_null() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"[null,"1","rooms:lobby","phx_join",{}]"#,
        &[r#"[null,"1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    client.ask(
        r#"[null,"2","rooms:lobby","new:msg",{"body":"x"}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"body":"x","user":null}]"#,
            r#"["1","2","rooms:lobby","phx_reply",{"response":{"msg":"x"},"status":"ok"}]"#,
        ],
    );
    client.ask(
        r#"[null,"3","rooms:lobby","phx_leave",{}]"#,
        &[
            r#"["1","3","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#,
            r#"[null,null,"rooms:lobby","phx_close",{}]"#,
        ],
    );
}

/// Protocol points 44 and 45.
#[test]
fn messages_for_an_earlier_join_are_dropped() {
    let server = TestServer::default();
    let mut client = Client::joined(server.address());
    client.ask(r#"["0","2","rooms:lobby","new:msg",{"body":"stale"}]"#, &[]);
    client.ask(r#"["0","3","rooms:lobby","phx_leave",{}]"#, &[]);
    client.ask(
        r#"[null,"4","rooms:lobby","new:msg",{"body":1,"user":2}]"#,
        &[
            r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#,
            r#"["1","4","rooms:lobby","phx_reply",{"response":{"msg":1},"status":"ok"}]"#,
        ],
    );
}

/// Protocol points 46 and 52.
#[test]
fn an_event_without_a_handler_ends_the_channel_not_the_socket() {
    let server = TestServer::default();
    for event in [r#""boom",{}"#, r#""phx_close",{}"#, r#""new:msg","no object""#] {
        let mut client = Client::joined(server.address());
        client.ask(
            &format!(r#"["1","2","rooms:lobby",{event}]"#),
            &[r#"["1","1","rooms:lobby","phx_error",{"reason":"channel_crash"}]"#],
        );
        client.ask(r#"["1","3","rooms:lobby","boom",{}]"#, &[UNMATCHED_3]);
        client.ask(JOIN, &[JOINED]);
    }
}

/// Protocol point 38.
#[test]
fn the_number_of_topics_on_one_socket_is_limited() {
    let server = TestServer::start(Config { max_topics: 0, ..config() });
    let mut client = Client::connect(server.address(), V2);
    let response = r#"{"response":{"reason":"too many channels joined"},"status":"error"}"#;
    client.ask(JOIN, &[&format!(r#"["1","1","rooms:lobby","phx_reply",{response}]"#)]);
}

/// Protocol point 32.
#[test]
fn joins_are_announced_only_when_asked_for() {
    let server = TestServer::start(Config { announce_joins: true, ..config() });
    let mut client = Client::connect(server.address(), V2);
    client.ask(
        r#"["1","1","rooms:lobby","phx_join",{"user":"ann"}]"#,
        &[
            JOINED,
            r#"[null,null,"rooms:lobby","user:entered",{"user":"ann"}]"#,
            r#"["1",null,"rooms:lobby","join",{"status":"connected"}]"#,
        ],
    );
    let mut other = Client::connect(server.address(), V2);
    other.ask(
        r#"["1","1","rooms:lobby","phx_join","no object"]"#,
        &[JOINED, r#"["1","1","rooms:lobby","phx_error",{"reason":"channel_crash"}]"#],
    );
    client.expect_nothing();
}
