//! C27: clients that come back after a loss, where they are told to, against servers that lose them.

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use agent::{Agent, plan, prepare};
use c2m_host::clock::monotonic_ns;
use c2m_schema::control::{AgentCommand, AgentEvent, AgentPlan, AgentStats, BroadcastPlan, ErrorCount, SlowPlan};
use serde_json::{Value, json};
use support::{Socket, broadcast, is, joined, next, reply, say, serve, upgrade};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const RESTART: u16 = 1012;

/// What a member of the room is told by the others' tasks.
#[derive(Clone, Debug)]
enum Told {
    Say(Value),
    /// End with this close code; without one, cut the connection.
    End(Option<u16>),
}

std::thread_local! {
    /// Members of the room of the server on this thread, by number of their connection.
    static MEMBERS: RefCell<Vec<(usize, UnboundedSender<Told>)>> = RefCell::default();
}

fn tell(which: impl Fn(usize) -> bool, told: impl Fn(usize) -> Told) {
    MEMBERS.with_borrow_mut(|members| {
        // Who has gone hears nothing.
        members.retain(|(number, to)| !which(*number) || to.send(told(*number)).is_ok());
    });
}

/// What a server saw.
#[derive(Debug, Default)]
struct Log {
    accepted: usize,
    joins: usize,
    users: HashSet<String>,
    /// Connections on which a heartbeat came.
    beating: HashSet<usize>,
    pushes: usize,
}

type Shared = Arc<Mutex<Log>>;

/// A member of the room until it is told to end or goes; `joined` and `pushed` hear of joins and pushes.
async fn member(number: usize, stream: TcpStream, log: Shared, joined: impl Fn(usize), pushed: impl Fn(usize, Value)) {
    let Some(mut socket) = upgrade(stream).await else { return };
    let Some(join) = next(&mut socket).await.filter(|message| is(message, "phx_join")) else { return };
    let (to, mut queue) = unbounded_channel();
    MEMBERS.with_borrow_mut(|members| members.push((number, to)));
    say(&mut socket, &reply(&join, "ok")).await;
    let joins = {
        let mut log = log.lock().expect("log");
        log.users.insert(join[4]["user"].to_string());
        log.joins += 1;
        log.joins
    };
    joined(joins);
    loop {
        tokio::select! {
            message = next(&mut socket) => {
                let Some(message) = message else { return };
                if is(&message, "heartbeat") {
                    log.lock().expect("log").beating.insert(number);
                } else if is(&message, "new:msg") {
                    let pushes = {
                        let mut log = log.lock().expect("log");
                        log.pushes += 1;
                        log.pushes
                    };
                    pushed(pushes, broadcast(&message));
                }
                say(&mut socket, &reply(&message, "ok")).await;
            }
            told = queue.recv() => match told {
                Some(Told::Say(message)) => say(&mut socket, &message).await,
                Some(Told::End(Some(code))) => return close(socket, code).await,
                Some(Told::End(None)) | None => return,
            },
        }
    }
}

async fn close(mut socket: Socket, code: u16) {
    // The client may have gone already.
    let _ = socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
    while next(&mut socket).await.is_some() {}
}

async fn refuse(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    // A client that has gone needs no answer.
    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
}

/// A server that ends its first `clients` connections as `end` says once all of them are joined. What comes later is
/// `refused`, or stays.
fn losing(clients: usize, refused: bool, end: fn(usize) -> Told) -> (SocketAddr, Shared) {
    let log = Shared::default();
    let shared = Arc::clone(&log);
    let address = serve(move |number, stream| {
        let log = Arc::clone(&shared);
        async move {
            log.lock().expect("log").accepted += 1;
            if number >= clients && refused {
                return refuse(stream).await;
            }
            let lose = |joins: usize| {
                if joins == clients {
                    tell(|_| true, end);
                }
            };
            member(number, stream, log, lose, |_, _| {}).await;
        }
    });
    (address, log)
}

fn reconnecting(server: SocketAddr, clients: usize) -> AgentPlan {
    AgentPlan { reconnect: true, ..plan(server, clients as u64) }
}

fn started(plan: AgentPlan) -> Agent {
    let mut agent = Agent::greeted();
    agent.say(&prepare(plan));
    agent.say(&AgentCommand::Start { start_ns: monotonic_ns() });
    agent
}

fn until_stats(agent: &mut Agent, wanted: impl Fn(&AgentStats) -> bool) -> AgentStats {
    agent.until(|event| match event {
        AgentEvent::Stats(stats) if wanted(&stats) => Some(stats),
        _ => None,
    })
}

/// Failures as `kind code count`.
fn told(errors: &[ErrorCount]) -> Vec<String> {
    errors.iter().map(|error| format!("{} {} {}", error.kind, error.code, error.count)).collect()
}

/// The final counters, by name.
fn states(stats: &AgentStats) -> [(&'static str, u64); 8] {
    [
        ("attempted", stats.attempted),
        ("tcp_connected", stats.tcp_connected),
        ("joined", stats.joined),
        ("live", stats.live),
        ("reconnects", stats.reconnects),
        ("reconnecting", stats.reconnecting),
        ("failed", stats.failed),
        ("dropped", stats.dropped),
    ]
}

#[test]
fn after_a_restart_every_client_is_back_once_and_beats() {
    const CLIENTS: usize = 200;
    let end = |number| Told::End((number % 2 == 0).then_some(RESTART));
    let (server, log) = losing(CLIENTS, false, end);
    let mut agent = started(reconnecting(server, CLIENTS));
    let back = until_stats(&mut agent, |stats| stats.reconnects == CLIENTS as u64);
    let all = CLIENTS as u64;
    let expected = [
        ("attempted", all),
        ("tcp_connected", all),
        ("joined", all),
        ("live", all),
        ("reconnects", all),
        ("reconnecting", 0),
        ("failed", 0),
        ("dropped", 0),
    ];
    assert_eq!(states(&back), expected);
    assert_eq!(
        (told(&back.errors), told(&back.retried)),
        (Vec::new(), vec!["closed 1012 100".into(), "eof 0 100".into()])
    );
    // Every new connection has its heartbeats, and every client the same name as before.
    let is_beating = || (CLIENTS..2 * CLIENTS).all(|number| log.lock().expect("log").beating.contains(&number));
    let seconds = (0..60).take_while(|_| !is_beating()).map(|_| until_stats(&mut agent, |_| true)).count();
    assert!(is_beating(), "not all of them after {seconds} lines");
    {
        let log = log.lock().expect("log");
        assert_eq!((log.accepted, log.joins, log.users.len()), (2 * CLIENTS, 2 * CLIENTS, CLIENTS));
    }
    agent.say(&AgentCommand::Stop);
    let summary = agent.summary();
    assert_eq!(states(&summary.stats), expected);
    let samples = |name: &str| {
        let (_, wire) = summary.latency.iter().find(|(metric, _)| metric == name).expect(name);
        wire.to_recorder().expect("readable").count()
    };
    assert_eq!(["connect", "upgrade", "join", "reconnect"].map(samples), [all; 4]);
    assert_eq!(agent.exit(), Some(0));
}

#[test]
fn a_refusal_is_final_and_has_its_own_name() {
    const CLIENTS: usize = 60;
    let (server, log) = losing(CLIENTS, true, |_| Told::End(Some(RESTART)));
    let mut agent = started(reconnecting(server, CLIENTS));
    until_stats(&mut agent, |stats| stats.failed == CLIENTS as u64);
    // Another second, in which the official client would have tried several times.
    let stats = until_stats(&mut agent, |_| true);
    assert_eq!(told(&stats.errors), ["reconnect_refused 403 60"]);
    assert_eq!(told(&stats.retried), ["closed 1012 60"]);
    assert_eq!((stats.joined, stats.live, stats.reconnects, stats.reconnecting, stats.dropped), (60, 0, 0, 0, 0));
    assert_eq!(log.lock().expect("log").accepted, 2 * CLIENTS, "each tried once");
}

#[test]
fn without_the_option_a_drop_is_a_drop() {
    const CLIENTS: usize = 60;
    let (server, log) = losing(CLIENTS, false, |_| Told::End(Some(RESTART)));
    let mut agent = started(plan(server, CLIENTS as u64));
    until_stats(&mut agent, |stats| stats.dropped == CLIENTS as u64);
    let stats = until_stats(&mut agent, |_| true);
    assert_eq!((told(&stats.errors), told(&stats.retried)), (vec!["closed 1012 60".into()], Vec::new()));
    assert_eq!((stats.live, stats.reconnects, stats.reconnecting), (0, 0, 0));
    assert_eq!(log.lock().expect("log").accepted, CLIENTS);
}

#[test]
fn who_is_closed_in_order_stays_away() {
    const CLIENTS: usize = 40;
    let end = |number| Told::End([Some(1000), Some(1001), Some(1009), Some(1013)][number % 4]);
    let (server, log) = losing(CLIENTS, false, end);
    let mut agent = started(reconnecting(server, CLIENTS));
    until_stats(&mut agent, |stats| stats.reconnects == 30);
    let stats = until_stats(&mut agent, |_| true);
    assert_eq!((stats.live, stats.dropped, stats.reconnecting, stats.reconnects), (30, 10, 0, 30));
    assert_eq!(told(&stats.errors), ["closed 1000 10"]);
    assert_eq!(told(&stats.retried), ["closed 1001 10", "closed 1009 10", "closed 1013 10"]);
    assert_eq!(log.lock().expect("log").accepted, CLIENTS + 30);
}

/// The official client joins again on the connection that it has.
#[test]
fn a_channel_that_crashed_is_joined_again_on_the_same_connection() {
    const CLIENTS: usize = 20;
    let log = Shared::default();
    let shared = Arc::clone(&log);
    let server = serve(move |_, stream| {
        let log = Arc::clone(&shared);
        async move {
            log.lock().expect("log").accepted += 1;
            let Some(mut socket) = joined(stream).await else { return };
            say(&mut socket, &json!(["1", "1", "rooms:lobby", "phx_error", {}])).await;
            let mut joins = 0;
            while let Some(message) = next(&mut socket).await {
                joins += i32::from(is(&message, "phx_join"));
                say(&mut socket, &reply(&message, if joins == 1 { "error" } else { "ok" })).await;
            }
        }
    });
    let mut agent = started(AgentPlan { observers: 0, ..reconnecting(server, CLIENTS) });
    let stats = until_stats(&mut agent, |stats| stats.reconnects == CLIENTS as u64);
    assert_eq!((stats.live, stats.reconnecting, stats.dropped), (20, 0, 0));
    assert_eq!(told(&stats.retried), ["join_rejected 0 20", "channel_error 0 20"]);
    assert_eq!(log.lock().expect("log").accepted, CLIENTS);
}

/// The ledger expects clients that are away, and says what they missed and why.
#[test]
fn deliveries_missed_while_away_are_expected_and_lost_with_a_reason() {
    const CLIENTS: usize = 50;
    let log = Shared::default();
    let shared = Arc::clone(&log);
    let server = serve(move |number, stream| {
        let log = Arc::clone(&shared);
        let pushed = move |pushes: usize, message: Value| {
            if pushes == 2 {
                tell(|other| other != number, |_| Told::End(Some(RESTART)));
            }
            tell(|other| pushes != 2 || other == number, |_| Told::Say(message.clone()));
        };
        member(number, stream, log, |_| {}, pushed)
    });
    let mut agent = started(reconnecting(server, CLIENTS));
    until_stats(&mut agent, |stats| stats.live == CLIENTS as u64);
    agent.say(&AgentCommand::Measure(BroadcastPlan {
        first_due_ns: monotonic_ns() + 300_000_000,
        count: 5,
        interval_ns: 500_000_000,
        payload_bytes: 100,
        deadline_ns: 5_000_000_000,
        clock_offset_ns: 0,
    }));
    agent.until(|event| matches!(event, AgentEvent::Measured).then_some(()));
    agent.say(&AgentCommand::Stop);
    let summary = agent.summary();
    let all = CLIENTS as u64;
    assert_eq!(summary.broadcasts.len(), 5);
    for ledger in &summary.broadcasts {
        assert_eq!((ledger.expected, ledger.lost_by_drop, ledger.duplicate), (all, 0, 0), "{ledger:?}");
        assert_eq!(ledger.received + ledger.lost_away, all, "{ledger:?}");
    }
    let counts = |at: usize| (summary.broadcasts[at].received, summary.broadcasts[at].lost_away);
    assert_eq!((counts(0), counts(1)), ((all, 0), (1, all - 1)));
    assert_eq!(told(&summary.stats.retried), ["closed 1012 49"]);
    assert_eq!(summary.observed_mismatch, 0);
}

/// Nobody can get what is due while its sender is away, and the account says so.
#[test]
fn broadcasts_due_while_their_sender_is_away_are_not_sent() {
    const CLIENTS: usize = 10;
    let log = Shared::default();
    let shared = Arc::clone(&log);
    let server = serve(move |number, stream| {
        let pushed = |pushes: usize, message: Value| match pushes {
            2 => tell(|_| true, |_| Told::End(Some(RESTART))),
            _ => tell(|_| true, |_| Told::Say(message.clone())),
        };
        member(number, stream, Arc::clone(&shared), |_| {}, pushed)
    });
    let mut agent = started(reconnecting(server, CLIENTS));
    until_stats(&mut agent, |stats| stats.live == CLIENTS as u64);
    // No client comes back sooner than after 10 ms, so several of these are due in between.
    agent.say(&AgentCommand::Measure(BroadcastPlan {
        first_due_ns: monotonic_ns() + 300_000_000,
        count: 100,
        interval_ns: 2_000_000,
        payload_bytes: 100,
        deadline_ns: 5_000_000_000,
        clock_offset_ns: 0,
    }));
    agent.until(|event| matches!(event, AgentEvent::Measured).then_some(()));
    agent.say(&AgentCommand::Stop);
    let broadcasts = agent.summary().broadcasts;
    let all = CLIENTS as u64;
    for ledger in &broadcasts {
        assert_eq!((ledger.expected, ledger.received + ledger.lost_away), (all, all), "{ledger:?}");
        assert_eq!(ledger.sender_away, ledger.sent_ns.is_none(), "{ledger:?}");
        assert!(!ledger.sender_away || ledger.received == 0, "{ledger:?}");
    }
    assert!(broadcasts.iter().any(|ledger| ledger.sender_away), "{broadcasts:?}");
    assert_eq!(broadcasts[0].received, all);
}

#[test]
fn slow_clients_do_not_come_back() {
    let nowhere: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let mut agent = Agent::greeted();
    let slow = Some(SlowPlan { clients: 1, bytes_per_s: 0 });
    agent.say(&prepare(AgentPlan { slow, ..reconnecting(nowhere, 20) }));
    assert!(agent.failure().contains("reconnect and slow clients exclude each other"));
    assert_eq!(agent.exit(), Some(2));
}
