//! The load agent against a server that does what a test wants: states counted apart (C23), phases kept apart (C18), and
//! copies accounted for (C14). The server is made with tokio-tungstenite, so no code is shared with the agent.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

/// What becomes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Joined, answered, kept.
    Good,
    /// HTTP 403.
    Refused,
    /// The join is answered with an error.
    Rejected,
    /// The join is never answered.
    Silent,
    /// Joined, then closed with 1001.
    Closed,
    /// Every answer to a join is 300 ms late.
    LateJoin,
    /// Gets every broadcast twice.
    Doubled,
    /// Gets every broadcast but the second.
    Robbed,
}

#[derive(Default)]
struct Room {
    members: Mutex<Vec<(Fate, UnboundedSender<Message>)>>,
    broadcasts: AtomicUsize,
}

/// Starts a server whose n-th connection has the n-th fate; gives its address.
fn serve(fates: Vec<Fate>) -> std::net::SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
            tell.send(listener.local_addr().expect("address")).expect("the test waits");
            let room = Arc::new(Room::default());
            let mut fates = fates.into_iter();
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                // The agent's probe and anything beyond the script is treated well.
                let fate = fates.next().unwrap_or(Fate::Good);
                tokio::spawn(connection(stream, fate, Arc::clone(&room)));
            }
        });
    });
    told.recv().expect("the server has started")
}

// The library's callback returns a whole response as its error.
#[allow(clippy::result_large_err)]
async fn connection(stream: TcpStream, fate: Fate, room: Arc<Room>) {
    let admit = |_: &Request, response: Response| -> Result<Response, ErrorResponse> {
        if fate == Fate::Refused {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            return Err(refusal);
        }
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, admit).await else { return };
    let (mut write, mut read) = socket.split();
    let (out, mut outgoing) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if write.send(message).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(Message::Text(text))) = read.next().await {
        let message: Value = serde_json::from_str(&text).expect("a client sends JSON");
        match (message[3].as_str(), fate) {
            (Some("phx_join"), Fate::Silent) => {}
            (Some("phx_join"), Fate::Rejected) => answer(&out, &message, "error", &json!({"reason": "unauthorized"})),
            (Some("phx_join"), _) => {
                if fate == Fate::LateJoin {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                answer(&out, &message, "ok", &json!({}));
                room.members.lock().expect("lock").push((fate, out.clone()));
                if fate == Fate::Closed {
                    let close =
                        tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1001.into(), reason: "".into() };
                    let _ = out.send(Message::Close(Some(close)));
                }
            }
            (Some("new:msg"), _) => {
                broadcast(&room, &message);
                answer(&out, &message, "ok", &json!({"msg": message[4]["body"]}));
            }
            _ => answer(&out, &message, "ok", &json!({})),
        }
    }
}

fn answer(out: &UnboundedSender<Message>, to: &Value, status: &str, response: &Value) {
    let join_ref = if to[2] == "phoenix" { &Value::Null } else { &to[0] };
    let reply = json!([join_ref, to[1], to[2], "phx_reply", {"response": response, "status": status}]);
    let _ = out.send(Message::text(reply.to_string()));
}

fn broadcast(room: &Room, message: &Value) {
    let number = room.broadcasts.fetch_add(1, Ordering::Relaxed);
    let text = json!([null, null, message[2], message[3], message[4]]).to_string();
    for (fate, out) in room.members.lock().expect("lock").iter() {
        let copies = match fate {
            Fate::Doubled => 2,
            Fate::Robbed if number == 1 => 0,
            _ => 1,
        };
        for _ in 0..copies {
            let _ = out.send(Message::text(text.clone()));
        }
    }
}

/// Runs the load generator alone and gives its exit status and its JSON.
fn load(address: std::net::SocketAddr, clients: usize, flags: &[&str]) -> (Option<i32>, Value) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_c2m-loadgen"))
        .args(["run", "--url", &format!("ws://{address}/socket/websocket"), "--clients", &clients.to_string()])
        .args(["--heartbeat-s", "0", "--observers", "0", "--json"])
        .args(flags)
        .output()
        .expect("c2m-loadgen runs");
    let summary = serde_json::from_slice(&stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}): {}", String::from_utf8_lossy(&stderr)));
    (status.code(), summary)
}

fn count(summary: &Value, kind: &str, code: i64) -> u64 {
    let errors = summary["errors"].as_array().expect("errors");
    errors.iter().filter(|e| e["kind"] == kind && e["code"] == code).map(|e| e["count"].as_u64().expect("count")).sum()
}

fn assert_states_add_up(summary: &Value) {
    let rows = summary["rows"].as_array().expect("rows");
    assert!(!rows.is_empty());
    for row in rows {
        let of = |name: &str| row[name].as_u64().expect(name);
        let parts = ["pending", "failed", "live", "dropped", "reconnecting"].map(of);
        assert_eq!(of("attempted"), parts.iter().sum::<u64>(), "{row}");
    }
}

/// C23: refused, rejected, unanswered, closed and kept clients are five different numbers.
#[test]
fn a_hundred_clients_of_five_fates_are_counted_apart() {
    let ten = |fate| std::iter::repeat_n(fate, 10);
    let fates =
        ten(Fate::Refused).chain(ten(Fate::Rejected)).chain(ten(Fate::Silent)).chain(ten(Fate::Closed)).collect();
    let flags = ["--broadcasts", "0", "--rate", "200", "--join-timeout-s", "1", "--workers", "1"];
    let (status, summary) = load(serve(fates), 100, &flags);
    assert_eq!(status, Some(1), "{summary}");
    let states = &summary["states"];
    for (name, expected) in [
        ("attempted", 100),
        ("tcp_connected", 100),
        ("upgraded", 90),
        ("joined", 70),
        ("dropped", 10),
        ("live_at_end", 60),
    ] {
        assert_eq!(states[name], expected, "{name}: {states}");
    }
    assert!(states["live_peak"].as_u64().is_some_and(|peak| (60..=70).contains(&peak)), "{states}");
    assert_eq!(count(&summary, "http_refused", 403), 10, "{summary}");
    assert_eq!(count(&summary, "join_rejected", 0), 10, "{summary}");
    assert_eq!(count(&summary, "join_timeout", 0), 10, "{summary}");
    assert_eq!(count(&summary, "closed", 1001), 10, "{summary}");
    assert_states_add_up(&summary);
}

/// C18: what was slow while clients arrived is in the ramp's figures and in no others.
#[test]
fn slow_joins_are_in_the_ramp_and_not_in_the_delivery_latencies() {
    const CLIENTS: usize = 100;
    let flags = ["--rate", "500", "--settle-s", "1", "--broadcasts", "10", "--interval-ms", "100"];
    let (status, summary) = load(serve(vec![Fate::LateJoin; CLIENTS]), CLIENTS, &flags);
    assert_eq!(status, Some(0), "{summary}");
    let join = summary["ramp"]["join"]["p50_ns"].as_u64().expect("join p50");
    assert!(join >= 295_000_000, "joins were 300 ms late by the script: {join}");
    let delivery = summary["deliveries"]["latency"]["p50_ns"].as_u64().expect("delivery p50");
    assert!(delivery < 295_000_000, "deliveries were not: {delivery}");
    let phases: Vec<_> = summary["rows"].as_array().expect("rows").iter().map(|row| row["phase"].clone()).collect();
    for phase in ["ramp", "settle", "measure"] {
        assert!(phases.contains(&json!(phase)), "{phase}: {phases:?}");
    }
}

/// C14: a second copy and a lost one show, and neither makes up for the other.
#[test]
fn doubled_and_robbed_clients_show_in_the_ledger() {
    let fates = vec![Fate::Good, Fate::Doubled, Fate::Robbed];
    let flags = ["--rate", "50", "--broadcasts", "3", "--interval-ms", "50", "--deadline-ms", "1000", "--workers", "1"];
    let (status, summary) = load(serve(fates), 20, &flags);
    assert_eq!(status, Some(1), "{summary}");
    let deliveries = &summary["deliveries"];
    for (name, expected) in [("expected", 60), ("received", 59), ("missing", 1), ("duplicate", 3)] {
        assert_eq!(deliveries[name], expected, "{name}: {deliveries}");
    }
}
