//! Several server nodes over a real NATS server, 30,000 clients over them. Takes nats-server; `make backplane` runs it.

mod live;
#[path = "../../server/tests/server/nats.rs"]
mod nats;
mod programs;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use c2m_host::clock::monotonic_ns;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{
    AgentCommand, AgentEvent, AgentPlan, AgentSummary, ArrivalPhase, BroadcastPlan, PubsubState, PubsubStats,
    ServerEvent, write_line,
};
use c2m_schema::rows::{PointRow, SampleRow, Status, Subject};
use c2m_schema::table;
use live::{Bench, DEADLINE, Running, eventually, eventually as wait_for};
use nats::Nats;
use programs::binary;
use serde::de::DeserializeOwned;

const CLIENTS: u64 = 30_000;
const BROADCASTS: u32 = 5;
const SECOND_NS: u64 = 1_000_000_000;

/// A child and its lines.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(binary(program));
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (to, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, input, lines }
    }

    /// Skips to the first line that `wanted` takes.
    fn until<E: DeserializeOwned, T>(&self, wanted: impl Fn(E) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the line that is waited for, in time");
            let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    fn tell(&mut self, command: &AgentCommand) {
        write_line(&mut self.input, command).expect("the agent reads");
    }

    fn pubsub(&self, is_so: impl Fn(&PubsubStats) -> bool) -> PubsubStats {
        self.until(|event| match event {
            ServerEvent::Stats(stats) => stats.pubsub.filter(&is_so),
            _ => None,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node, and its address.
fn node(nats: &Nats) -> (Process, String) {
    let server = Process::start("c2m-server", &["--stdio", "--clients", "30000", "--pubsub", &nats.url]);
    let address = server.until(|event| match event {
        ServerEvent::Ready(ready) => Some(ready.address),
        _ => None,
    });
    (server, address)
}

fn plan(address: &str, clients: u64, publisher: bool) -> AgentPlan {
    AgentPlan {
        url: format!("ws://{address}/socket/websocket"),
        topic: "rooms:lobby".to_owned(),
        serializer: "2.0.0".to_owned(),
        clients,
        observers: 2,
        publisher,
        arrival: vec![ArrivalPhase { seconds: None, rate_per_s: 3_000.0 }],
        heartbeat_interval_ms: 20_000,
        heartbeat_timeout_ms: 30_000,
        connect_timeout_ms: 30_000,
        upgrade_timeout_ms: 30_000,
        join_timeout_ms: 30_000,
        sources: Vec::new(),
        source_ports: None,
        workers: 0,
        file_tables: None,
        rooms: None,
        slow: None,
        reconnect: false,
        seed: None,
    }
}

fn exactly_once_over(nodes: u64) {
    let Some(nats) = Nats::start() else { return };
    let servers: Vec<_> = (0..nodes).map(|_| node(&nats)).collect();
    for (server, _) in &servers {
        server.pubsub(|stats| stats.state == PubsubState::Connected && stats.nodes == nodes - 1);
    }
    let mut agents = Vec::new();
    for (i, (_, address)) in servers.iter().enumerate() {
        let mut agent = Process::start("c2m-loadgen", &["agent"]);
        agent.tell(&AgentCommand::Hello { protocol: CONTROL_PROTOCOL });
        agent.tell(&AgentCommand::Prepare(Box::new(plan(address, CLIENTS / nodes, i == 0))));
        agent.until(|event| matches!(event, AgentEvent::Prepared(_)).then_some(()));
        agent.tell(&AgentCommand::Start { start_ns: monotonic_ns() });
        agents.push(agent);
    }
    for agent in &agents {
        agent.until(|event| match event {
            AgentEvent::Stats(stats) => (stats.live == CLIENTS / nodes).then_some(()),
            _ => None,
        });
    }
    let measure = BroadcastPlan {
        first_due_ns: monotonic_ns() + SECOND_NS,
        count: BROADCASTS,
        interval_ns: SECOND_NS,
        payload_bytes: 64,
        deadline_ns: 30 * SECOND_NS,
        clock_offset_ns: 0,
    };
    for agent in &mut agents {
        agent.tell(&AgentCommand::Measure(measure.clone()));
    }
    for agent in &agents {
        agent.until(|event| matches!(event, AgentEvent::Measured).then_some(()));
    }
    for agent in &mut agents {
        agent.tell(&AgentCommand::Stop);
    }
    let mut received = 0;
    for agent in &agents {
        let AgentSummary { broadcasts, stats, .. } = agent.until(|event| match event {
            AgentEvent::Summary(summary) => Some(summary),
            _ => None,
        });
        assert_eq!((stats.failed, stats.dropped, broadcasts.len()), (0, 0, BROADCASTS as usize));
        for ledger in &broadcasts {
            let found = [ledger.expected, ledger.received, ledger.duplicate, ledger.out_of_order, ledger.unexpected];
            assert_eq!(found, [CLIENTS / nodes, CLIENTS / nodes, 0, 0, 0], "{}", ledger.sequence);
            received += ledger.received;
        }
    }
    assert_eq!(received, CLIENTS * u64::from(BROADCASTS));
    for (i, (server, _)) in servers.iter().enumerate() {
        let published = if i == 0 { u64::from(BROADCASTS) } else { 0 };
        let received = u64::from(BROADCASTS) - published;
        let stats = server.pubsub(|stats| (stats.published, stats.received) == (published, received));
        assert_eq!([stats.unsent, stats.missed, stats.stale, stats.losses], [0; 4]);
    }
}

#[test]
#[ignore = "30,000 clients, takes nats-server: make backplane"]
fn two_nodes_deliver_each_broadcast_once_to_thirty_thousand() {
    exactly_once_over(2);
}

#[test]
#[ignore = "30,000 clients, takes nats-server: make backplane"]
fn three_nodes_deliver_each_broadcast_once_to_thirty_thousand() {
    exactly_once_over(3);
}

/// The members of the run's own node get every broadcast all the while; the rows show when NATS was away and what stayed.
#[test]
#[ignore = "30,000 clients, takes nats-server: make backplane"]
fn nats_killed_and_restarted_in_mid_run_is_in_the_rows() {
    let Some(mut nats) = Nats::start() else { return };
    let (other, _) = node(&nats);
    let bench = Bench::new();
    let text = format!(
        "question = \"is a lost NATS seen?\"\nisolate = \"host\"\n[server]\npubsub = \"{}\"\n[clients]\ncounts = [{CLIENTS}]\n\
         [arrival]\nrate_per_s = 3000\n[broadcast]\ncount = 20\ninterval_ms = 1000\n[measure]\nsettle_s = 1\nhold_s = 3\n\
         [expect]\njoined = \"all\"\nmissing = 0\nduplicate = 0\nout_of_order = 0\n",
        nats.url
    );
    let running = Running::of(&bench, CLIENTS, &text);
    other.pubsub(|stats| stats.received >= 2);
    nats.kill();
    let rows = || table::read::<SampleRow>(&bench.only_run()).expect("samples.csv");
    let newest = |rows: &[SampleRow]| rows.iter().rfind(|row| row.pubsub_state.is_some()).cloned().expect("a node");
    eventually("the rows show it", || {
        let row = newest(&rows());
        (row.pubsub_state == Some(PubsubState::Away) && row.pubsub_unsent >= Some(3)).then_some(())
    });
    nats.restart();
    let there = other.pubsub(|stats| stats.state == PubsubState::Connected && stats.missed >= 3);
    assert_eq!((there.losses, there.stale), (1, 0));
    let (status, log) = running.end();
    assert!(status.success(), "{log}");

    let rows = rows();
    let states: Vec<_> = rows.iter().filter(|r| r.subject == Subject::Server).filter_map(|r| r.pubsub_state).collect();
    let mut turns = states;
    turns.dedup();
    let away = PubsubState::Away;
    let turns = turns.strip_prefix(&[away]).unwrap_or(&turns);
    assert_eq!(turns, [PubsubState::Connected, away, PubsubState::Connected]);
    let last = newest(&rows);
    assert_eq!(last.pubsub_losses, Some(1));
    assert_eq!(last.pubsub_published.zip(last.pubsub_unsent).map(|(sent, unsent)| sent + unsent), Some(20));
    let points: Vec<PointRow> = table::read(&bench.only_run()).expect("points.csv");
    assert_eq!((points[0].status, points[0].deliveries_missing), (Status::Ok, Some(0)));
    // Whatever the run's node did not hand over, the other one knows to have missed.
    let end = other.pubsub(|stats| stats.received + stats.missed == 20);
    assert!(end.missed >= last.pubsub_unsent.expect("a node"), "{end:?}");
}
