//! The agent as a child process: commands in, events out.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentCommand, AgentEvent, AgentPlan, AgentSummary, ArrivalPhase, FileTables, write_line};

use crate::support::url;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) lines: Receiver<String>,
}

impl Agent {
    pub(crate) fn spawn() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_c2m-loadgen"))
            .arg("agent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("c2m-loadgen starts");
        let (to, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let input = child.stdin.take();
        Self { child, input, lines }
    }

    /// Spawned, and greetings exchanged.
    pub(crate) fn greeted() -> Self {
        let mut agent = Self::spawn();
        assert!(matches!(agent.next(), AgentEvent::Hello { protocol: CONTROL_PROTOCOL, .. }));
        agent.say(&AgentCommand::Hello { protocol: CONTROL_PROTOCOL });
        agent
    }

    pub(crate) fn say(&mut self, command: &AgentCommand) {
        write_line(self.input.as_mut().expect("not closed"), command).expect("the agent reads");
    }

    pub(crate) fn next(&mut self) -> AgentEvent {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
        let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let AgentEvent::Stats(stats) | AgentEvent::Summary(AgentSummary { stats, .. }) = &event {
            let parts = [stats.pending, stats.failed, stats.live, stats.dropped, stats.reconnecting];
            assert_eq!(stats.attempted, parts.iter().sum::<u64>(), "{line}");
            let errors: u64 = stats.errors.iter().map(|error| error.count).sum();
            assert_eq!(errors, stats.failed + stats.dropped, "{line}");
        }
        event
    }

    /// Skips to the first event that `wanted` takes.
    pub(crate) fn until<T>(&mut self, wanted: impl Fn(AgentEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next()) {
                return found;
            }
        }
    }

    pub(crate) fn failure(&mut self) -> String {
        self.until(|event| match event {
            AgentEvent::Failed { reason } => Some(reason),
            _ => None,
        })
    }

    pub(crate) fn summary(&mut self) -> AgentSummary {
        self.until(|event| match event {
            AgentEvent::Summary(summary) => Some(summary),
            _ => None,
        })
    }

    /// The exit status, after whatever it still says.
    pub(crate) fn exit(mut self) -> Option<i32> {
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().expect("a child").code()
    }
}

pub(crate) fn plan(server: SocketAddr, clients: u64) -> AgentPlan {
    AgentPlan {
        url: url(server),
        topic: "rooms:lobby".to_owned(),
        serializer: "2.0.0".to_owned(),
        clients,
        observers: 2,
        publisher: true,
        arrival: vec![ArrivalPhase { seconds: None, rate_per_s: 500.0 }],
        heartbeat_interval_ms: 500,
        heartbeat_timeout_ms: 30_000,
        connect_timeout_ms: 30_000,
        upgrade_timeout_ms: 30_000,
        join_timeout_ms: 30_000,
        sources: Vec::new(),
        source_ports: None,
        workers: 3,
        file_tables: Some(FileTables::Private),
        rooms: None,
        slow: None,
        reconnect: false,
        seed: None,
    }
}

pub(crate) fn prepare(plan: AgentPlan) -> AgentCommand {
    AgentCommand::Prepare(Box::new(plan))
}
