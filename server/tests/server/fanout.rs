//! Broadcasts to many.

use std::time::Duration;

use c2m_server::Config;
use socket2::{Domain, Socket, Type};

use crate::common::{Client, JOIN, JOINED, TestServer, V2, config, count, get};

fn message(number: usize) -> (String, String) {
    let body = format!(r#"{{"body":"{number}","user":"u"}}"#);
    let push = format!(r#"["1","p{number}","rooms:lobby","new:msg",{body}]"#);
    (push, format!(r#"[null,null,"rooms:lobby","new:msg",{body}]"#))
}

fn expect_all(clients: &mut [Client], text: &str) {
    for client in clients {
        client.expect(&[text]);
    }
}

#[test]
fn every_member_on_every_shard_gets_each_broadcast_once_and_in_order() {
    let server = TestServer::start(Config { shards: Some(4), ..config() });
    let mut clients: Vec<Client> = (0..60).map(|_| Client::joined(server.address())).collect();
    let mut outsider = Client::connect(server.address(), V2);
    for number in 0..20 {
        clients[number % 3].send(message(number).0.as_str());
        // Broadcasts of different senders are ordered only when one follows the other.
        let copies = clients[number % 3].text();
        assert_eq!(copies, message(number).1, "the sender's own copy comes before its reply");
        let reply = clients[number % 3].text();
        assert!(reply.contains("phx_reply") && reply.contains(&format!("p{number}")), "{reply}");
        for client in clients.iter_mut().enumerate().filter(|(i, _)| *i != number % 3).map(|(_, client)| client) {
            client.expect(&[&message(number).1]);
        }
    }
    clients.iter_mut().for_each(Client::expect_nothing);
    outsider.expect_nothing();
    let stats = server.wait_for("all counted", |stats| stats.deliveries == 20 * 60);
    assert_eq!((stats.broadcasts, stats.joined), (20, 60));
}

#[test]
fn one_senders_messages_stay_in_order_when_sent_without_waiting() {
    let server = TestServer::start(Config { shards: Some(3), ..config() });
    let mut sender = Client::joined(server.address());
    let mut receivers: Vec<Client> = (0..20).map(|_| Client::joined(server.address())).collect();
    for number in 0..100 {
        sender.send(message(number).0.as_str());
    }
    for number in 0..100 {
        assert_eq!(sender.text(), message(number).1);
        assert!(sender.text().contains("phx_reply"));
        expect_all(&mut receivers, &message(number).1);
    }
}

#[test]
fn the_two_serializers_get_the_same_payload_in_their_own_form() {
    let server = TestServer::default();
    let mut old = Client::connect(server.address(), "/socket/websocket?vsn=1.0.0");
    old.ask(
        r#"{"topic":"rooms:lobby","event":"phx_join","payload":{},"ref":"1"}"#,
        &[r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"1","topic":"rooms:lobby"}"#],
    );
    let mut new = Client::joined(server.address());
    new.send(r#"["1","2","rooms:lobby","new:msg",{"user":"a","body":"\u00e9"}]"#);
    new.expect(&[r#"[null,null,"rooms:lobby","new:msg",{"user":"a","body":"\u00e9"}]"#]);
    old.expect(&[r#"{"event":"new:msg","payload":{"user":"a","body":"\u00e9"},"ref":null,"topic":"rooms:lobby"}"#]);
}

/// C13.
#[test]
fn a_client_that_does_not_read_is_dropped_at_its_bound_and_delays_no_one() {
    let server = TestServer::start(Config { send_buffer_bytes: 4096, queue_frames: 16, ..config() });
    // A small receive window, set before the connect so that it is never announced larger.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("made");
    socket.set_recv_buffer_size(4096).expect("set");
    socket.connect(&server.address().into()).expect("connected");
    let mut stuck = Client::over(socket.into(), server.address(), V2);
    stuck.ask(JOIN, &[JOINED]);
    let mut others: Vec<Client> = (0..20).map(|_| Client::joined(server.address())).collect();
    let body = "x".repeat(1024);
    let payload = format!(r#"{{"body":"{body}","user":"u"}}"#);
    let broadcast = format!(r#"[null,null,"rooms:lobby","new:msg",{payload}]"#);
    let mut sent = 0;
    let dropped = |stats| count(&stats, "slow_consumer", 0) == 1;
    while !dropped(server.running().stats()) {
        sent += 1;
        assert!(sent <= 1000, "a bound of 16 frames and 4 KiB in the kernel is not noticed");
        others[0].send(format!(r#"["1","{sent}","rooms:lobby","new:msg",{payload}]"#).as_str());
        expect_all(&mut others, &broadcast);
        let reply = others[0].text();
        assert!(reply.contains("phx_reply"), "{reply}");
        // Joining and leaving go on.
        let newcomer = Client::joined(server.address());
        newcomer.close();
    }
    server.wait_for("the others stay", |stats| stats.joined == 20 && stats.connections == 20);
    others.iter_mut().for_each(Client::expect_nothing);
    assert_eq!(count(&server.running().stats(), "slow_consumer", 0), 1);
}

#[test]
fn a_client_that_reads_late_but_within_the_bound_gets_everything() {
    let server = TestServer::start(Config { send_buffer_bytes: 4096, queue_frames: 10_000, ..config() });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("made");
    socket.set_recv_buffer_size(4096).expect("set");
    socket.connect(&server.address().into()).expect("connected");
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(crate::common::DEADLINE)).expect("set");
    let mut late = Client::over(stream, server.address(), V2);
    late.ask(JOIN, &[JOINED]);
    let mut sender = Client::joined(server.address());
    for number in 0..500 {
        sender.send(message(number).0.as_str());
        sender.expect(&[&message(number).1]);
        assert!(sender.text().contains("phx_reply"));
    }
    let queued =
        |text: String| text.lines().any(|line| line.starts_with("c2m_queued_clients{") && line.ends_with(" 1"));
    assert!(queued(get(server.address(), "/metrics")), "its socket is full");
    for number in 0..500 {
        late.expect(&[&message(number).1]);
    }
    late.expect_nothing();
    server.wait_for("every frame counted once", |stats| stats.deliveries == 1000);
    assert!(!queued(get(server.address(), "/metrics")));
}

#[test]
fn pushes_beyond_what_may_be_in_flight_are_refused_and_the_rest_delivered() {
    // One shard walks 30 members for each push, and pushes come in one read: some must be refused.
    let server = TestServer::start(Config { shards: Some(1), queue_frames: 100_000, ..config() });
    let receivers: Vec<Client> = (0..30).map(|_| Client::joined(server.address())).collect();
    let mut sender = Client::joined(server.address());
    let mut burst = Vec::new();
    for number in 0..1500 {
        burst.extend(crate::common::text_frame(&format!(
            r#"["1","{number}","rooms:lobby","new:msg",{{"body":1,"user":2}}]"#
        )));
    }
    // The frames are whole messages of the client, so its library may stay unaware of them.
    sender.write_raw(&burst);
    let (mut accepted, mut refused) = (0, 0);
    while accepted + refused < 1500 {
        let text = sender.text();
        if text.contains(r#""status":"ok""#) {
            accepted += 1;
        } else if text.contains(r#"{"response":{"reason":"overloaded"},"status":"error"}"#) {
            refused += 1;
        }
    }
    assert!(accepted >= 1, "{accepted} of 1500");
    let mut reading: Vec<_> = receivers.into_iter().collect();
    for receiver in &mut reading {
        for _ in 0..accepted {
            assert_eq!(receiver.text(), r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#);
        }
        receiver.expect_nothing();
    }
    let stats = server.wait_for("all counted", |stats| stats.deliveries == accepted * 31);
    assert_eq!((stats.broadcasts, count(&stats, "overloaded", 0)), (accepted, refused));
}

#[test]
fn heartbeats_are_answered_during_a_broadcast_storm() {
    let server = TestServer::start(Config { shards: Some(1), queue_frames: 100_000, ..config() });
    let address = server.address();
    let mut members: Vec<Client> = (0..100).map(|_| Client::joined(address)).collect();
    let mut sender = members.pop().expect("a hundred");
    for number in 0..50 {
        sender.send(message(number).0.as_str());
    }
    let mut other = Client::connect(address, V2);
    let start = std::time::Instant::now();
    other.ask(
        r#"[null,"1","phoenix","heartbeat",{}]"#,
        &[r#"[null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]"#],
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    for number in 0..50 {
        expect_all(&mut members, &message(number).1);
    }
}
