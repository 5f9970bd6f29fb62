//! The WebSocket layer: echo, control frames, malformed input.

use std::io::Write as _;

use c2m_server::Config;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{
    Client, DEADLINE, TestServer, V2, close_frame, config, count, expect_close, raw, read_frame, text_frame, wait_for,
};

#[test]
fn echo_returns_messages_up_to_the_limit_unchanged() {
    let server = TestServer::default();
    let mut client = Client::connect(server.address(), "/echo");
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        let text = "x".repeat(length);
        client.send(text.as_str());
        assert_eq!(client.receive(), Message::text(text));
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        client.send(Message::binary(bytes.clone()));
        assert_eq!(client.receive(), Message::binary(bytes));
    }
    client.send(Message::Ping("payload".into()));
    assert_eq!(client.receive(), Message::Pong("payload".into()));
    client.close();
    server.wait_for("gone, and no error", |stats| stats.connections == 0 && stats.errors.is_empty());
}

#[test]
fn many_messages_at_once_are_answered_in_order() {
    let server = TestServer::default();
    let mut client = raw(server.address(), "/echo");
    let mut writer = client.try_clone().expect("cloned");
    let sent = std::thread::spawn(move || {
        for i in 0..20_000 {
            writer.write_all(&text_frame(&format!("message {i}"))).expect("sent");
        }
    });
    for i in 0..20_000 {
        assert_eq!(read_frame(&mut client).1, format!("message {i}").into_bytes());
    }
    sent.join().expect("all sent");
    assert_eq!(server.running().stats().errors, []);
}

/// Protocol point 57; C10.
#[test]
fn a_message_may_come_byte_by_byte_in_fragments_with_a_ping_between() {
    let server = TestServer::default();
    let mut client = raw(server.address(), "/echo");
    // "😀" cut inside the character, mask 0: a text frame without FIN, a ping, the continuation.
    let bytes = [
        &[0x01, 0x82, 0, 0, 0, 0, 0xf0, 0x9f][..],
        &[0x89, 0x81, 0, 0, 0, 0, b'p'],
        &[0x80, 0x82, 0, 0, 0, 0, 0x98, 0x80],
    ];
    for byte in bytes.concat() {
        client.write_all(&[byte]).expect("sent");
    }
    assert_eq!(read_frame(&mut client), (0x8a, b"p".to_vec()));
    assert_eq!(read_frame(&mut client), (0x81, "😀".as_bytes().to_vec()));
}

/// Protocol point 61.
#[test]
fn a_close_is_answered_with_its_code() {
    let server = TestServer::default();
    for path in [V2, "/echo"] {
        let mut client = raw(server.address(), path);
        client.write_all(&close_frame(4321)).expect("sent");
        expect_close(&mut client, 4321);
    }
    server.wait_for("gone, and no error", |stats| stats.connections == 0 && stats.errors.is_empty());
}

/// Protocol points 19, 24, 31 and 60; C07, C10, C11.
#[test]
fn malformed_input_ends_that_connection_only() {
    let server = TestServer::start(Config { max_message_bytes: 1000, ..config() });
    let mut witness = Client::joined(server.address());
    let deep = "[".repeat(900);
    let cases: [(&str, &[u8], u16, &str); 12] = [
        (V2, &text_frame(r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#), 1011, "malformed"),
        ("/socket/websocket", &text_frame(r#"[null,"1","phoenix","heartbeat",{}]"#), 1011, "malformed"),
        (V2, &text_frame(""), 1011, "malformed"),
        (V2, &text_frame("[1,2]"), 1011, "malformed"),
        (V2, &text_frame("null"), 1011, "malformed"),
        (V2, &text_frame(&deep), 1011, "malformed"),
        // Binary of an unknown kind.
        (V2, &[0x82, 0x81, 0, 0, 0, 0, 9], 1011, "malformed"),
        // Not masked; a reserved bit; a size beyond the limit; bytes that are not UTF-8, also in an unfinished message.
        (V2, &[0x81, 0x01, b'x'], 1002, "protocol"),
        ("/echo", &[0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002, "protocol"),
        ("/echo", &[0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0], 1009, "protocol"),
        (V2, &[0x81, 0x83, 0, 0, 0, 0, 0xed, 0xa0, 0x80], 1007, "protocol"),
        (V2, &[0x01, 0x84, 0, 0, 0, 0, 0xf4, 0x90, 0x80, 0x80], 1007, "protocol"),
    ];
    for (path, bytes, code, kind) in cases {
        let before = count(&server.running().stats(), kind, i64::from(code));
        let mut client = raw(server.address(), path);
        client.write_all(bytes).expect("sent");
        expect_close(&mut client, code);
        server.wait_for("it is counted", |stats| count(stats, kind, i64::from(code)) == before + 1);
    }
    witness.expect_nothing();
    server.wait_for("only the witness stays", |stats| stats.connections == 1 && stats.joined == 1);
}

/// C07.
#[test]
fn a_message_of_a_megabyte_of_brackets_is_refused_by_its_size() {
    let server = TestServer::default();
    let mut client = raw(server.address(), V2);
    let frame = text_frame(&"[".repeat(1_000_000));
    // The server answers before it has read all of this, and may end the connection under the writer.
    let _ = client.write_all(&frame[..60_000]);
    expect_close(&mut client, 1009);
}

/// Protocol point 55.
#[test]
fn a_client_that_falls_silent_is_closed_and_one_that_pings_is_not() {
    let server = TestServer::start(Config { idle_timeout_s: 1, ..config() });
    let mut silent = Client::joined(server.address());
    let mut alive = Client::joined(server.address());
    let stats = wait_for("the silent one is closed", || {
        alive.expect_nothing();
        Some(server.running().stats()).filter(|stats| !stats.errors.is_empty())
    });
    assert_eq!(silent.close_code(), Some(1001));
    alive.expect_nothing();
    assert_eq!(count(&stats, "idle_timeout", 1001), 1);
}

#[test]
fn an_end_of_file_without_a_close_frame_is_counted_and_ends_the_memberships() {
    let server = TestServer::default();
    let client = Client::joined(server.address());
    server.wait_for("joined", |stats| stats.joined == 1);
    drop(client);
    let gone = |stats: &c2m_schema::control::ServerStats| stats.connections == 0 && stats.joined == 0;
    assert_eq!(count(&server.wait_for("gone", gone), "eof", 1006), 1);
}

/// Protocol point 59.
#[test]
fn a_drain_says_service_restart_to_everyone() {
    let server = TestServer::start(Config { drain_timeout_s: DEADLINE.as_secs() as u32, ..config() });
    let address = server.address();
    let clients: Vec<Client> = (0..20).map(|_| Client::joined(address)).collect();
    let drained = std::thread::scope(|scope| {
        let all: Vec<_> = clients
            .into_iter()
            .map(|mut client| scope.spawn(move || assert_eq!(client.close_code(), Some(1012))))
            .collect();
        let drained = server.drain();
        for one in all {
            one.join().expect("told");
        }
        drained
    });
    assert_eq!((drained.closed, drained.cut), (20, 0));
    assert_eq!((drained.stats.connections, drained.stats.joined), (0, 0));
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_drain_cuts_at_its_deadline_who_does_not_close() {
    let server = TestServer::start(Config { drain_timeout_s: 0, ..config() });
    let client = raw(server.address(), V2);
    server.wait_for("it is open", |stats| stats.upgraded == 1);
    let drained = server.drain();
    assert_eq!((drained.closed, drained.cut), (0, 1));
    drop(client);
}
