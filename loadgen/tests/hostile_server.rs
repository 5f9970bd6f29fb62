//! Servers that misbehave, one way each: every way has its own name in the summary, and none of them hangs the run.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::{Socket, broadcast, is, joined, next, reply, say, serve, upgrade, url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Reads until the client goes.
async fn stay(mut socket: Socket) {
    while next(&mut socket).await.is_some() {}
}

/// Runs the load generator alone; gives its exit status and its JSON.
fn load(address: SocketAddr, clients: usize, flags: &[&str]) -> (Option<i32>, Value) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_c2m-loadgen"))
        .args(["run", "--url", &url(address), "--clients", &clients.to_string(), "--rate", "500", "--json"])
        .args(["--settle-s", "0", "--workers", "2"])
        .args(flags)
        .output()
        .expect("c2m-loadgen runs");
    let summary = serde_json::from_slice(&stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(&stderr)));
    (status.code(), summary)
}

/// Failures of a summary or of statistics as `kind code count`.
fn errors(of: &Value) -> Vec<String> {
    let list = of["errors"].as_array().expect("errors");
    list.iter()
        .map(|error| format!("{} {} {}", error["kind"].as_str().expect("kind"), error["code"], error["count"]))
        .collect()
}

const NO_BROADCASTS: [&str; 2] = ["--broadcasts", "0"];

fn without_broadcasts(address: SocketAddr, clients: usize, flags: &[&str]) -> (Option<i32>, Value) {
    load(address, clients, &[&NO_BROADCASTS[..], flags].concat())
}

/// C02: the kernel completes TCP handshakes for a server that never accepts.
#[test]
fn connections_that_nobody_accepts_are_no_clients() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, summary) = without_broadcasts(listener.local_addr().unwrap(), 40, &["--upgrade-timeout-s", "0.5"]);
    assert_eq!(status, Some(1));
    let states = &summary["states"];
    assert_eq!((&states["tcp_connected"], &states["upgraded"]), (&json!(40), &json!(0)), "{states}");
    // One is an observer, which has another library's handshake and the same name for its failure.
    assert_eq!(errors(&summary), ["upgrade_timeout 0 40"]);
    let reason = summary["verdict"]["reasons"][0].as_str().unwrap();
    assert!(reason.contains("the server stopped answering upgrades at N = 0"), "{reason}");
}

#[test]
fn a_server_that_is_not_there_refuses_every_client() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, summary) = without_broadcasts(address, 30, &[]);
    assert_eq!((status, errors(&summary)), (Some(1), vec!["connect 111 30".to_owned()]));
    assert_eq!(summary["states"]["tcp_connected"], 0);
}

/// Reads a request and writes an answer made from its key.
async fn answer_upgrade(stream: &mut TcpStream, answer: impl Fn(&str) -> String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("ASCII");
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let _ = stream.write_all(answer(&derive_accept_key(key.as_bytes())).as_bytes()).await;
}

fn switching(accept: &str, more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

async fn hold(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// C11 (d), and the other answers that a client must not accept.
#[test]
fn each_bad_handshake_has_its_own_name() {
    let address = serve(|number, mut stream| async move {
        let answer = |accept: &str| match number % 5 {
            0 => switching(accept, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            1 => switching("bm90IHRoZSBhbnN3ZXI=", ""),
            2 => switching(accept, "Sec-WebSocket-Protocol: phoenix\r\n"),
            3 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        };
        answer_upgrade(&mut stream, answer).await;
        hold(stream).await;
    });
    let (status, summary) = without_broadcasts(address, 25, &["--observers", "0"]);
    assert_eq!(status, Some(1));
    let expected = [
        "http_refused 503 5",
        "handshake_accept 0 5",
        "handshake_extension 0 5",
        "handshake_subprotocol 0 5",
        "handshake_malformed 0 5",
    ];
    assert_eq!(errors(&summary), expected);
    assert_eq!(summary["states"]["upgraded"], 0);
}

/// C11 (e): frames from a server must not be masked.
#[test]
fn masked_frames_fail_the_connection() {
    let address = serve(|_, mut stream| async move {
        answer_upgrade(&mut stream, |accept| switching(accept, "")).await;
        // The role of a client is what masks.
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let text = r#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#;
        let _ = socket.send(Message::text(text)).await;
        hold(socket.into_inner()).await;
    });
    let (status, summary) = without_broadcasts(address, 10, &["--observers", "0"]);
    assert_eq!((status, errors(&summary)), (Some(1), vec!["protocol_error 1002 10".to_owned()]));
    assert_eq!((&summary["states"]["upgraded"], &summary["states"]["joined"]), (&json!(10), &json!(0)));
}

#[test]
fn answers_cut_into_single_bytes_are_understood() {
    let address = serve(|_, mut stream| async move {
        stream.set_nodelay(true).unwrap();
        let answer = RefCell::new(Vec::new());
        answer_upgrade(&mut stream, |accept| {
            answer.borrow_mut().extend_from_slice(switching(accept, "").as_bytes());
            String::new()
        })
        .await;
        let text = br#"["1","1","rooms:lobby","phx_reply",{"response":{},"status":"ok"}]"#;
        let mut bytes = answer.into_inner();
        bytes.extend([0x81, text.len() as u8]);
        bytes.extend_from_slice(text);
        for byte in bytes {
            let _ = stream.write_all(&[byte]).await;
            tokio::task::yield_now().await;
        }
        hold(stream).await;
    });
    let (status, summary) = without_broadcasts(address, 5, &["--observers", "0"]);
    assert_eq!((status, &summary["states"]["live_at_end"]), (Some(0), &json!(5)), "{summary}");
}

/// C08 (b): dead when the first heartbeat has waited its timeout, not at the next interval.
#[test]
fn an_unanswered_heartbeat_ends_a_client_before_its_next_one() {
    let address = serve(|_, stream| async move {
        let Some(mut socket) = joined(stream).await else { return };
        // An empty reply to something else is no answer to a heartbeat.
        while let Some(message) = next(&mut socket).await {
            say(&mut socket, &json!(["1", message[1], "rooms:lobby", "phx_reply", {"response": {}, "status": "ok"}]))
                .await;
        }
    });
    let flags = ["--heartbeat-s", "2", "--heartbeat-timeout-s", "0.5", "--hold-s", "3.5"];
    let (status, summary) = without_broadcasts(address, 20, &flags);
    assert_eq!((status, errors(&summary)), (Some(1), vec!["heartbeat_timeout 0 20".to_owned()]), "{summary}");
    assert_eq!((&summary["heartbeats"]["sent"], &summary["heartbeats"]["answered"]), (&json!(20), &json!(0)));
    let states = &summary["states"];
    assert_eq!((&states["live_peak"], &states["live_at_end"], &states["dropped"]), (&json!(20), &json!(0), &json!(20)));
}

/// C09: every ping is answered with its payload, and control frames count as life where heartbeats stay unanswered.
#[test]
fn pings_are_answered_with_their_payload_and_count_as_life() {
    let address = serve(|number, stream| async move {
        let Some(mut socket) = joined(stream).await else { return };
        for round in 0.. {
            let payload = format!("{number}-{round}").into_bytes();
            if socket.send(Message::Ping(payload.clone().into())).await.is_err() {
                return;
            }
            let pong = async {
                loop {
                    match socket.next().await {
                        Some(Ok(Message::Pong(pong))) => return pong == payload,
                        Some(Ok(Message::Text(_))) => {}
                        _ => return false,
                    }
                }
            };
            // A client without a right pong is cut.
            if !tokio::time::timeout(Duration::from_secs(20), pong).await.unwrap_or(false) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let flags = ["--heartbeat-s", "0.5", "--heartbeat-timeout-s", "1", "--hold-s", "3"];
    let (status, summary) = without_broadcasts(address, 20, &flags);
    assert_eq!((status, errors(&summary)), (Some(0), Vec::new()), "{summary}");
    assert!(summary["heartbeats"]["sent"].as_u64() >= Some(60), "{summary}");
}

/// C06: the end of an older join of the same topic is not the end of ours, whichever side of the reply it comes on.
#[test]
fn the_late_close_of_another_join_ends_nobody() {
    let address = serve(|number, stream| async move {
        let Some(mut socket) = upgrade(stream).await else { return };
        let Some(join) = next(&mut socket).await else { return };
        let old_close = json!(["0", "0", join[2], "phx_close", {}]);
        let answers = [old_close, reply(&join, "ok")];
        for at in [number % 2, (number + 1) % 2] {
            say(&mut socket, &answers[at]).await;
        }
        stay(socket).await;
    });
    let (status, summary) = without_broadcasts(address, 20, &["--hold-s", "0.5"]);
    assert_eq!((status, &summary["states"]["live_at_end"]), (Some(0), &json!(20)), "{summary}");
}

#[test]
fn the_ends_of_joined_clients_are_told_apart() {
    let address = serve(|number, stream| async move {
        let Some(mut socket) = joined(stream).await else { return };
        match number % 5 {
            0 => say(&mut socket, &json!(["1", "1", "rooms:lobby", "phx_error", {"reason": "channel_crash"}])).await,
            1 => say(&mut socket, &json!({"not": "a message"})).await,
            2 => {
                let _ = socket.close(None).await;
            }
            // An end without a close frame.
            3 => return drop(socket.into_inner()),
            _ => {}
        }
        stay(socket).await;
    });
    let (status, summary) = without_broadcasts(address, 25, &["--observers", "0", "--hold-s", "1"]);
    assert_eq!(status, Some(1));
    let expected = ["closed 1005 5", "eof 0 5", "protocol_error 1007 5", "channel_closed 0 5"];
    assert_eq!(errors(&summary), expected, "{summary}");
    assert_eq!((&summary["states"]["joined"], &summary["states"]["live_at_end"]), (&json!(25), &json!(5)));
}

/// Members of a room, as queues of what to send them.
#[derive(Clone, Default)]
struct Room {
    members: Rc<RefCell<Vec<tokio::sync::mpsc::UnboundedSender<Value>>>>,
    pushes: Rc<Cell<u32>>,
}

/// A room whose `spread` decides what a push (and its number, from 0) sends to the members.
async fn member(stream: TcpStream, room: Room, spread: impl Fn(&Room, u32, Value)) {
    let Some(mut socket) = joined(stream).await else { return };
    let (to, mut queue) = tokio::sync::mpsc::unbounded_channel();
    room.members.borrow_mut().push(to);
    loop {
        tokio::select! {
            message = next(&mut socket) => {
                let Some(message) = message else { return };
                if is(&message, "new:msg") {
                    spread(&room, room.pushes.replace(room.pushes.get() + 1), broadcast(&message));
                }
                say(&mut socket, &reply(&message, "ok")).await;
            }
            Some(message) = queue.recv() => say(&mut socket, &message).await,
        }
    }
}

fn to_all(room: &Room, message: &Value) {
    for member in room.members.borrow().iter() {
        let _ = member.send(message.clone());
    }
}

fn serve_room(spread: impl Fn(&Room, u32, Value) + Clone + Send + 'static) -> SocketAddr {
    std::thread_local! {
        static ROOM: Room = Room::default();
    }
    // The server's thread has one room.
    serve(move |_, stream| member(stream, ROOM.with(Clone::clone), spread.clone()))
}

/// One client of thirty gets the second broadcast after the third; another gets the last one altered.
#[test]
fn a_changed_order_is_received_and_counted_and_other_messages_are_no_deliveries() {
    let held = Arc::new(std::sync::Mutex::new(None));
    let address = serve_room(move |room, number, message| {
        let chat = json!([null, null, "rooms:lobby", "new:msg", {"body": "ping", "user": "SYSTEM"}]);
        to_all(room, &chat);
        let members = room.members.borrow();
        for (at, member) in members.iter().enumerate() {
            match (at, number) {
                (7, 1) => *held.lock().unwrap() = Some(message.clone()),
                _ => drop(member.send(message.clone())),
            }
        }
        if number == 2 {
            let late = held.lock().unwrap().take().expect("held back before");
            let _ = members[7].send(late);
        }
    });
    let flags = ["--broadcasts", "4", "--interval-ms", "100", "--heartbeat-s", "0"];
    let (status, summary) = load(address, 30, &flags);
    assert_eq!(status, Some(0), "{summary}");
    let deliveries = &summary["deliveries"];
    for (name, expected) in
        [("expected", 120), ("received", 120), ("duplicate", 0), ("out_of_order", 1), ("foreign", 120), ("observed", 4)]
    {
        assert_eq!(deliveries[name], expected, "{name}: {deliveries}");
    }
    assert_eq!(summary["broadcasts"][1]["out_of_order"], 1);
    assert_eq!(deliveries["latency"]["count"], 120);
}

#[test]
fn an_altered_payload_is_seen_by_the_observer() {
    let address = serve_room(|room, number, mut message| {
        if number == 1 {
            message[4]["user"] = json!("mallory");
        }
        to_all(room, &message);
    });
    let (status, summary) = load(address, 10, &["--broadcasts", "3", "--interval-ms", "50", "--heartbeat-s", "0"]);
    assert_eq!(status, Some(1));
    let deliveries = &summary["deliveries"];
    assert_eq!(
        (&deliveries["observed"], &deliveries["mismatch"], &deliveries["missing"]),
        (&json!(3), &json!(1), &json!(0))
    );
}

/// C16: while the server freezes for a second the publisher goes on, and every delivery's latency runs from its due time.
#[test]
fn a_frozen_server_shows_in_every_delivery_that_was_due_meanwhile() {
    let address = serve_room(|room, number, message| {
        if number == 20 {
            std::thread::sleep(Duration::from_secs(1));
        }
        to_all(room, &message);
    });
    let flags = ["--broadcasts", "100", "--interval-ms", "10", "--heartbeat-s", "0", "--observers", "0"];
    let (status, summary) = load(address, 3, &flags);
    assert_eq!(status, Some(0), "{summary}");
    let latency = &summary["deliveries"]["latency"];
    assert_eq!(latency["count"], 300);
    let of = |name: &str| latency[name].as_u64().unwrap();
    // Eighty of the hundred were due in that second, the first of them at its begin.
    assert!(of("max_ns") >= 990_000_000, "{latency}");
    assert!(of("p50_ns") >= 400_000_000, "{latency}");
    assert!(of("p90_ns") >= 800_000_000, "{latency}");
}

#[test]
fn broadcasts_stay_unsent_when_the_publisher_is_gone_and_all_miss_them() {
    let publisher = Arc::new(AtomicUsize::new(0));
    let address = serve(move |_, stream| {
        let publisher = Arc::clone(&publisher);
        async move {
            let Some(mut socket) = joined(stream).await else { return };
            while let Some(message) = next(&mut socket).await {
                if is(&message, "new:msg") && publisher.fetch_add(1, Ordering::Relaxed) == 0 {
                    return;
                }
            }
        }
    });
    let flags = ["--broadcasts", "3", "--interval-ms", "300", "--deadline-ms", "500", "--heartbeat-s", "0"];
    let (status, summary) = load(address, 10, &flags);
    assert_eq!(status, Some(1));
    let deliveries = &summary["deliveries"];
    assert_eq!((&deliveries["sent"], &deliveries["received"]), (&json!(1), &json!(0)), "{summary}");
    let expected: Vec<_> = (0..3).map(|at| summary["broadcasts"][at]["expected"].as_u64().unwrap()).collect();
    assert_eq!(expected, [10, 9, 9], "the publisher was owed the first one");
    assert_eq!(summary["broadcasts"][0]["lost_by_drop"], 1);
}

#[test]
fn nonces_differ_between_connections() {
    let keys = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let seen = Arc::clone(&keys);
    let address = serve(move |_, mut stream| {
        let keys = Arc::clone(&keys);
        async move {
            answer_upgrade(&mut stream, |accept| {
                keys.lock().unwrap().insert(accept.to_owned());
                switching(accept, "")
            })
            .await;
            hold(stream).await;
        }
    });
    let (_, summary) = without_broadcasts(address, 30, &["--join-timeout-s", "0.3"]);
    assert_eq!((errors(&summary), seen.lock().unwrap().len()), (vec!["join_timeout 0 30".to_owned()], 30));
}
