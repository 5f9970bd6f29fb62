//! The `agent` verb as a harness sees it: lines in, lines out, exit statuses.

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::io::Write as _;
use std::net::SocketAddr;

use agent::{Agent, plan, prepare};
use c2m_host::clock::monotonic_ns;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentCommand, AgentEvent, AgentPlan, BroadcastPlan, FileTables};
use support::{broadcast, is, joined, next, reply, say, serve};

/// A room that does everything right.
fn serve_room() -> SocketAddr {
    type Members = std::cell::RefCell<Vec<tokio::sync::mpsc::UnboundedSender<serde_json::Value>>>;
    std::thread_local! {
        static MEMBERS: Members = Members::default();
    }
    serve(|_, stream| async move {
        let Some(mut socket) = joined(stream).await else { return };
        let (to, mut queue) = tokio::sync::mpsc::unbounded_channel();
        MEMBERS.with_borrow_mut(|members| members.push(to));
        loop {
            tokio::select! {
                message = next(&mut socket) => {
                    let Some(message) = message else { return };
                    if is(&message, "new:msg") {
                        let text = broadcast(&message);
                        MEMBERS.with_borrow(|members| members.iter().for_each(|to| drop(to.send(text.clone()))));
                    }
                    say(&mut socket, &reply(&message, "ok")).await;
                }
                Some(message) = queue.recv() => say(&mut socket, &message).await,
            }
        }
    })
}

#[test]
fn a_whole_run_goes_from_hello_to_summary() {
    const CLIENTS: u64 = 60;
    let mut agent = Agent::greeted();
    agent.say(&prepare(plan(serve_room(), CLIENTS)));
    let AgentEvent::Prepared(prepared) = agent.next() else { panic!("prepared comes first") };
    assert_eq!((prepared.workers, prepared.file_tables), (3, FileTables::Private));
    assert!(prepared.capacity >= CLIENTS && prepared.nofile > CLIENTS);
    agent.say(&AgentCommand::Probe);
    assert_eq!(agent.next(), AgentEvent::Probed);
    agent.say(&AgentCommand::Start { start_ns: monotonic_ns() });
    let settled = agent.until(|event| match event {
        AgentEvent::Stats(stats) if stats.attempted == CLIENTS && stats.pending == 0 => Some(stats),
        _ => None,
    });
    assert_eq!((settled.live, settled.failed, settled.dropped), (CLIENTS, 0, 0), "{settled:?}");

    let broadcasts = BroadcastPlan {
        first_due_ns: monotonic_ns() + 300_000_000,
        count: 5,
        interval_ns: 200_000_000,
        payload_bytes: 300,
        deadline_ns: 30_000_000_000,
        clock_offset_ns: 0,
    };
    agent.say(&AgentCommand::Measure(broadcasts.clone()));
    let mut ledgers = Vec::new();
    loop {
        match agent.next() {
            AgentEvent::Broadcast(ledger) => ledgers.push(ledger),
            AgentEvent::Measured => break,
            _ => {}
        }
    }
    agent.say(&AgentCommand::Stop);
    let summary = agent.summary();
    assert_eq!(agent.exit(), Some(0));
    assert_eq!(ledgers.iter().map(|ledger| ledger.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(summary.broadcasts.len(), 5);
    for ledger in &summary.broadcasts {
        assert_eq!((ledger.expected, ledger.received, ledger.duplicate), (CLIENTS, CLIENTS, 0), "{ledger:?}");
        assert_eq!(ledger.due_ns, broadcasts.first_due_ns + u64::from(ledger.sequence) * broadcasts.interval_ns);
        let (sent, first, last) = (ledger.sent_ns.unwrap(), ledger.first_ns.unwrap(), ledger.last_ns.unwrap());
        assert!(ledger.due_ns <= sent && sent <= first && first <= last && ledger.replied_ns > Some(sent));
        assert_eq!(ledger.from_due.to_recorder().unwrap().count(), CLIENTS);
        assert_eq!(ledger.from_sent.to_recorder().unwrap().count(), CLIENTS);
    }
    assert_eq!((summary.observed, summary.observed_mismatch), (10, 0));
    assert_eq!((summary.stats.live, summary.stats.deliveries), (CLIENTS, 5 * CLIENTS));
    assert!(summary.stats.heartbeats >= summary.stats.heartbeat_replies && summary.stats.heartbeat_replies > 0);
    let samples = |name: &str| {
        let (_, wire) = summary.latency.iter().find(|(metric, _)| metric == name).expect(name);
        wire.to_recorder().unwrap().count()
    };
    assert_eq!(["connect", "upgrade", "join", "arrival_lag"].map(samples), [CLIENTS; 4]);
    assert_eq!((samples("publish_lag"), samples("heartbeat_lag")), (5, summary.stats.heartbeats));
    assert_eq!(samples("heartbeat") + samples("heartbeat_ramp"), summary.stats.heartbeat_replies);
}

#[test]
fn the_end_of_stdin_ends_a_running_agent_in_order() {
    let mut agent = Agent::greeted();
    agent.say(&prepare(plan(serve_room(), 30)));
    agent.say(&AgentCommand::Start { start_ns: monotonic_ns() });
    agent.until(|event| matches!(event, AgentEvent::Stats(stats) if stats.live == 30).then_some(()));
    agent.input = None;
    let summary = agent.summary();
    assert_eq!((summary.stats.live, summary.broadcasts.len()), (30, 0));
    assert_eq!(agent.exit(), Some(0));
}

#[test]
fn the_end_of_stdin_before_any_plan_is_in_order_too() {
    let mut agent = Agent::greeted();
    agent.input = None;
    assert_eq!(agent.exit(), Some(0));
}

#[test]
fn a_harness_that_no_longer_reads_does_not_keep_the_agent() {
    let mut agent = Agent::greeted();
    agent.say(&prepare(plan(serve_room(), 30)));
    agent.say(&AgentCommand::Start { start_ns: monotonic_ns() });
    agent.until(|event| matches!(event, AgentEvent::Stats(stats) if stats.live == 30).then_some(()));
    // Dropping the receiver ends the reading thread with the next line, and with it the pipe.
    let Agent { mut child, input, lines } = agent;
    drop(lines);
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    drop(input);
}

#[test]
fn breaches_of_the_protocol_are_told_and_end_with_status_2() {
    let server: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let start = AgentCommand::Start { start_ns: 1 };
    let measure = BroadcastPlan {
        first_due_ns: 1,
        count: 1,
        interval_ns: 1,
        payload_bytes: 64,
        deadline_ns: 1,
        clock_offset_ns: 0,
    };
    let cases = [
        (vec![start.clone()], "prepare"),
        (vec![AgentCommand::Hello { protocol: CONTROL_PROTOCOL }], "second hello"),
        (vec![AgentCommand::Probe], "probe is not possible"),
        (vec![prepare(plan(server, 5)), AgentCommand::Measure(measure)], "measure is not possible"),
        (vec![prepare(plan(server, 5)), prepare(plan(server, 5))], "prepare is not possible"),
    ];
    for (commands, expected) in cases {
        let mut agent = Agent::greeted();
        for command in &commands {
            agent.say(command);
        }
        let reason = agent.failure();
        assert!(reason.contains(expected) || reason.contains("not possible when idle"), "{reason}");
        assert_eq!(agent.exit(), Some(2), "{commands:?}");
    }
    for line in ["not json\n", "{\"type\":\"dance\"}\n"] {
        let mut agent = Agent::greeted();
        agent.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        assert!(agent.failure().contains("control protocol"));
        assert_eq!(agent.exit(), Some(2), "{line}");
    }
    let mut agent = Agent::spawn();
    agent.say(&AgentCommand::Hello { protocol: CONTROL_PROTOCOL + 1 });
    assert!(agent.failure().contains(&format!("protocol {}", CONTROL_PROTOCOL + 1)));
    assert_eq!(agent.exit(), Some(2));
    let mut agent = Agent::spawn();
    agent.say(&start);
    assert!(agent.failure().contains("the first line must be hello"));
    assert_eq!(agent.exit(), Some(2));
}

#[test]
fn what_cannot_be_done_is_told_and_ends_with_status_2() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut agent = Agent::greeted();
    agent.say(&prepare(plan(nowhere, 5)));
    agent.say(&AgentCommand::Probe);
    let reason = agent.failure();
    assert!(reason.contains("probe: connect") && reason.contains("refused"), "{reason}");
    assert_eq!(agent.exit(), Some(2));

    let mut agent = Agent::greeted();
    agent.say(&prepare(AgentPlan { serializer: "3.0.0".to_owned(), ..plan(nowhere, 5) }));
    assert!(agent.failure().contains("serializer"));
    assert_eq!(agent.exit(), Some(2));
}
