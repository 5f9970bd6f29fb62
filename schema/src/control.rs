//! Control lines: one JSON object per line on a child's stdin and stdout, tagged by `type`.
//!
//! The first line each way is `hello` (the server's first line is `ready`, which carries the same version). End of file
//! on stdin asks a child to end in order; it is what a finished run and a dead harness have in common.
//!
//! Times ending in `_ns` without a word such as `interval` are `CLOCK_MONOTONIC` readings of the host that wrote them.

use serde::{Deserialize, Serialize};

use crate::histogram::HistogramWire;
use crate::rooms::RoomPlan;

/// What a server process prints on stdout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerEvent {
    /// Every shard listens. The first line.
    Ready(ServerReady),
    /// Counters, once a second with `--stdio`, and a last time after the drain.
    Stats(ServerStats),
    /// The drain is over; the process exits next.
    Drained {
        /// Connections that ended with a close frame before the deadline.
        closed: u64,
        /// Connections cut at the deadline.
        cut: u64,
    },
}

/// The server's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReady {
    /// [`crate::CONTROL_PROTOCOL`].
    pub protocol: u32,
    /// Version of the server program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Bound address, `ip:port`.
    pub address: String,
    /// What carries the clients; none in another server than c2m-server.
    #[serde(default)]
    pub engine: Option<Engine>,
    /// Number of shards (threads that hold connections).
    pub shards: u32,
    /// Where the limit on descriptors counts.
    pub file_tables: FileTables,
    /// Descriptors each table may hold (the soft limit in force).
    pub nofile: u64,
    /// Most clients that fit into that many descriptors of each table.
    #[serde(default)]
    pub clients_max: u64,
    /// Bytes of the read buffer that each client at rest keeps; 0 where buffers are shared.
    #[serde(default)]
    pub read_buffer_bytes: u64,
    /// Idle timeout in seconds; 0 is none.
    pub idle_timeout_s: u64,
    /// Largest accepted frame and message, in bytes.
    pub max_message_bytes: u64,
    /// Whether the Origin header is checked.
    pub check_origin: bool,
}

/// What carries a server's clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Threads with an epoll loop each.
    #[default]
    Shards,
    /// The usual Rust stack: tokio, tokio-tungstenite, a task per connection.
    Tokio,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Shards, Self::Tokio];

    /// The word on the command line and in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Tokio => "tokio",
        }
    }

    /// The engine of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

/// Where `RLIMIT_NOFILE` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileTables {
    /// One table for the process.
    #[default]
    Shared,
    /// One table for each thread that holds sockets, by `unshare(CLONE_FILES)`.
    Private,
}

/// Cumulative counters of a server, save the two gauges `connections` and `joined`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStats {
    /// When, on the server's monotonic clock.
    pub at_ns: u64,
    /// Open sockets, handshakes included (gauge).
    pub connections: u64,
    /// Channel memberships (gauge).
    pub joined: u64,
    /// Accepted sockets.
    pub accepted: u64,
    /// Completed WebSocket upgrades.
    pub upgraded: u64,
    /// Joins answered ok.
    pub joins: u64,
    /// Broadcasts begun.
    pub broadcasts: u64,
    /// Broadcast frames handed to the kernel in whole.
    pub deliveries: u64,
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes written to sockets.
    pub bytes_out: u64,
    /// Connections and requests that ended otherwise than by the client's wish, by kind and code; and accept errors
    /// (kind `accept`, code errno).
    pub errors: Vec<ErrorCount>,
    /// Of a node among several (`--pubsub`); else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubsub: Option<PubsubStats>,
}

/// What a node has had to do with the others. Cumulative, save `state` and the gauge `nodes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PubsubStats {
    /// Whether broadcasts reach other nodes now.
    pub state: PubsubState,
    /// Other nodes heard of lately (gauge).
    pub nodes: u64,
    /// Broadcasts handed to NATS.
    pub published: u64,
    /// Broadcasts of other nodes that were delivered here.
    pub received: u64,
    /// Broadcasts that went to this node's members alone: NATS was away, behind, or refused their size.
    pub unsent: u64,
    /// Broadcasts of other nodes that never came, known by the gaps they left.
    pub missed: u64,
    /// Broadcasts of other nodes that came twice or after a later one, and were not delivered.
    pub stale: u64,
    /// How often the connection to NATS was lost.
    pub losses: u64,
}

/// Whether a node is connected to NATS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PubsubState {
    /// Broadcasts stay on this node; it keeps trying to connect.
    #[default]
    Away,
    /// It is.
    Connected,
}

/// How often something failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ErrorCount {
    /// What failed, e.g. `connect`, `http_refused`, `join_timeout`, `slow_consumer`.
    pub kind: String,
    /// errno, HTTP status or close code, as the kind says; 0 where there is none.
    pub code: i64,
    /// How often.
    pub count: u64,
}

/// What the harness tells a load agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentCommand {
    /// First line.
    Hello {
        /// [`crate::CONTROL_PROTOCOL`].
        protocol: u32,
    },
    /// What to hold; answered by `prepared` or `failed`.
    Prepare(Box<AgentPlan>),
    /// One client connects, joins and leaves, so that code and server are warm before memory is read; answered by
    /// `probed` or `failed`.
    Probe,
    /// Arrivals begin.
    Start {
        /// Due time of the first arrival.
        start_ns: u64,
    },
    /// Broadcasts begin. Every agent gets the schedule; the one that publishes also sends.
    Measure(BroadcastPlan),
    /// Send the final statistics, close every client, end. Answered by `summary`.
    Stop,
}

/// What one agent is to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentPlan {
    /// `ws://host:port/path?query`, the serializer's `vsn` included by the agent itself.
    pub url: String,
    /// Channel to join.
    pub topic: String,
    /// Serializer version, `1.0.0` or `2.0.0`.
    pub serializer: String,
    /// Clients this agent holds, observers and publisher among them.
    pub clients: u64,
    /// How many of them are observers: full clients of another library that check payloads byte for byte.
    pub observers: u64,
    /// Whether this agent's first client publishes.
    pub publisher: bool,
    /// Arrival schedule of this agent's clients.
    pub arrival: Vec<ArrivalPhase>,
    /// Heartbeat interval in milliseconds; 0 is none.
    pub heartbeat_interval_ms: u64,
    /// How long a heartbeat may stay unanswered, in milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// How long a TCP connect may take, in milliseconds, from its start.
    pub connect_timeout_ms: u64,
    /// How long the upgrade may take, in milliseconds, from the connect.
    pub upgrade_timeout_ms: u64,
    /// How long the join may take, in milliseconds, from the upgrade.
    pub join_timeout_ms: u64,
    /// Source addresses; empty: addresses of 127.0.0.0/8 for a loopback server, else whatever the route gives.
    pub sources: Vec<String>,
    /// First and last source port; none: the host's ephemeral range.
    pub source_ports: Option<(u16, u16)>,
    /// Worker threads; 0: as many as the limits ask for, at least one per usable core.
    pub workers: u32,
    /// Where the limit on descriptors counts; none: the agent chooses.
    pub file_tables: Option<FileTables>,
    /// The clients are spread over rooms instead of all joining `topic`. Each broadcast is then sent by a member of its
    /// room, whichever agent holds it, and no client is the `publisher`.
    #[serde(default)]
    pub rooms: Option<RoomPlan>,
    /// Some of the clients read slowly or never.
    #[serde(default)]
    pub slow: Option<SlowPlan>,
    /// Whether a joined client whose connection or channel is lost comes back, as the official client does. Excludes
    /// `slow`.
    #[serde(default)]
    pub reconnect: bool,
    /// What masks, handshake nonces and the random parts of waits are drawn from; none: the agent's clock.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// Clients that read slowly or never once they are joined. They are spread evenly over those that neither publish nor
/// observe, and are in no ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowPlan {
    /// How many of this agent's clients.
    pub clients: u64,
    /// How much each of them reads, in bytes per second; 0 is nothing.
    pub bytes_per_s: u64,
}

/// Arrivals at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalPhase {
    /// Length in seconds; none: until every client has arrived. Only the last phase may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Arrivals per second.
    pub rate_per_s: f64,
}

/// A series of broadcasts, each due at `first_due_ns + sequence × interval_ns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastPlan {
    /// Due time of the first.
    pub first_due_ns: u64,
    /// How many.
    pub count: u32,
    /// Between due times.
    pub interval_ns: u64,
    /// Size of each broadcast's JSON payload in bytes, at least [`BroadcastPlan::MIN_PAYLOAD_BYTES`].
    pub payload_bytes: u64,
    /// How long after its due time a broadcast may still be received; then its ledger is closed.
    pub deadline_ns: u64,
    /// The agent's clock minus the clock that stamps are made with: the first agent's. Whoever stamps a payload and
    /// whoever reads it takes this into account, so that due times agree to the nanosecond and durations carry the error
    /// of the estimate.
    #[serde(default)]
    pub clock_offset_ns: i64,
}

impl BroadcastPlan {
    /// A time of the agent's clock as it stands in a stamp.
    pub fn stamped_ns(&self, local_ns: u64) -> u64 {
        local_ns.saturating_add_signed(self.clock_offset_ns.saturating_neg())
    }

    /// A time that stands in a stamp, on the agent's clock.
    pub fn local_ns(&self, stamped_ns: u64) -> u64 {
        stamped_ns.saturating_add_signed(self.clock_offset_ns)
    }

    /// Smallest payload that holds a stamp.
    pub const MIN_PAYLOAD_BYTES: u64 = 64;
}

/// What a load agent tells the harness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentEvent {
    /// First line.
    Hello {
        /// [`crate::CONTROL_PROTOCOL`].
        protocol: u32,
        /// Version of the agent program.
        version: String,
        /// Process id.
        pid: u32,
    },
    /// Threads and tables exist; no connection yet.
    Prepared(AgentPrepared),
    /// One client joined and left again.
    Probed,
    /// Counters: once a second from `start` on, and at once when the last arrival is no longer pending.
    Stats(AgentStats),
    /// What is known of one broadcast. Cumulative: a later line for the same sequence replaces this one. Sent when all
    /// expected deliveries of this agent came, or at the deadline.
    Broadcast(BroadcastLedger),
    /// Every broadcast of the plan is complete or past its deadline.
    Measured,
    /// The last line: final counters, every ledger again, distributions.
    Summary(AgentSummary),
    /// The agent can't do what it was told; it exits next.
    Failed {
        /// One sentence for the person who runs it, remedy included.
        reason: String,
    },
}

/// How an agent will do its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPrepared {
    /// Threads that hold clients.
    pub workers: u32,
    /// Where the limit on descriptors counts.
    pub file_tables: FileTables,
    /// Descriptors each table may hold.
    pub nofile: u64,
    /// Source addresses in use.
    pub sources: u32,
    /// First and last source port.
    pub source_ports: (u16, u16),
    /// Connections the sources can open to the server: addresses × ports.
    pub capacity: u64,
    /// Things a person should know, e.g. a server port inside the ephemeral range.
    pub warnings: Vec<String>,
}

/// Counters of an agent. On every line `attempted = pending + failed + live + dropped + reconnecting`. A client counts
/// once in `attempted`, `tcp_connected`, `upgraded` and `joined`, however often it comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStats {
    /// When, on the agent's monotonic clock.
    pub at_ns: u64,
    /// Clients whose connect was begun.
    pub attempted: u64,
    /// Clients between the begin of their connect and their join (gauge).
    pub pending: u64,
    /// Clients whose TCP connect completed, ever.
    pub tcp_connected: u64,
    /// Clients whose upgrade completed, ever.
    pub upgraded: u64,
    /// Clients whose join was answered ok, ever.
    pub joined: u64,
    /// Clients joined now (gauge).
    pub live: u64,
    /// Clients that failed before they were joined, or were refused when they came back.
    pub failed: u64,
    /// Clients lost for good after they were joined.
    pub dropped: u64,
    /// Broadcast deliveries received.
    pub deliveries: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Heartbeats answered.
    pub heartbeat_replies: u64,
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes written to sockets.
    pub bytes_out: u64,
    /// Worst lag of an arrival behind its due time since the previous line, in nanoseconds.
    pub lag_max_ns: u64,
    /// `failed` and `dropped` by kind and code; their sum is `failed + dropped`.
    pub errors: Vec<ErrorCount>,
    /// Clients that read slowly or never, of `joined`.
    #[serde(default)]
    pub slow: u64,
    /// Those of them that were lost, of `dropped`.
    #[serde(default)]
    pub slow_dropped: u64,
    /// Clients that were joined, lost their connection or channel and are on their way back (gauge).
    #[serde(default)]
    pub reconnecting: u64,
    /// How often a client was joined again.
    #[serde(default)]
    pub reconnects: u64,
    /// What clients that come back ran into, by kind and code: losses that they came back from, and tries that failed
    /// and were made again. None of it is in `errors`.
    #[serde(default)]
    pub retried: Vec<ErrorCount>,
}

/// One agent's account of one broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastLedger {
    /// Sequence in the plan, from 0.
    pub sequence: u32,
    /// When it was due, on the publisher's clock.
    pub due_ns: u64,
    /// When it was sent; only from the agent that publishes, and only if it was sent.
    pub sent_ns: Option<u64>,
    /// When the server's reply to the push came; only from the agent that publishes.
    pub replied_ns: Option<u64>,
    /// This agent's clients that were joined at the due time, and those that were on their way back then.
    pub expected: u64,
    /// Of those, how many received it.
    pub received: u64,
    /// Further copies, beyond the first of each client.
    pub duplicate: u64,
    /// Received after a later sequence by the same client; also in `received`.
    pub out_of_order: u64,
    /// First copies received by clients that were not yet counted joined at the due time, and copies in a wrong room; not
    /// in `received`.
    pub unexpected: u64,
    /// Expected clients that were dropped before they received it; part of `expected - received`.
    pub lost_by_drop: u64,
    /// First delivery of this agent, on its clock.
    pub first_ns: Option<u64>,
    /// Last delivery of this agent, on its clock.
    pub last_ns: Option<u64>,
    /// Delivery latency from the due time.
    pub from_due: HistogramWire,
    /// Delivery latency from the send time: not corrected for a publisher that was late.
    pub from_sent: HistogramWire,
    /// Expected clients that lost their connection before they received it, or were on their way back when it was due, and all
    /// of them when the sender was; part of `expected - received`.
    #[serde(default)]
    pub lost_away: u64,
    /// It was not sent because its sender was on its way back when it was due; only from the agent that publishes.
    #[serde(default)]
    pub sender_away: bool,
}

/// An agent's last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Final counters, read before the clients are closed.
    pub stats: AgentStats,
    /// Every broadcast's ledger.
    pub broadcasts: Vec<BroadcastLedger>,
    /// Distributions by metric: `connect`, `upgrade`, `join` (from the arrival's due time), `arrival_lag` (due to
    /// begin), `heartbeat` (from its due time), `heartbeat_lag`, `publish_lag`, `reconnect` (from a loss to the ok reply
    /// of the join after it).
    pub latency: Vec<(String, HistogramWire)>,
    /// Deliveries the observers checked byte for byte.
    pub observed: u64,
    /// Of those, how many differed from what was published.
    pub observed_mismatch: u64,
}

/// Writes `line` as one JSON line and flushes, so that the reader sees it at once.
pub fn write_line(out: &mut impl std::io::Write, line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tagged_objects_that_read_back() {
        let command = AgentCommand::Start { start_ns: 5 };
        let mut out = Vec::new();
        write_line(&mut out, &command).unwrap();
        assert_eq!(out, b"{\"type\":\"start\",\"start_ns\":5}\n");
        assert_eq!(serde_json::from_slice::<AgentCommand>(&out).unwrap(), command);
        let event = ServerEvent::Stats(ServerStats { joined: 3, ..ServerStats::default() });
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with("{\"type\":\"stats\","), "{text}");
        assert_eq!(serde_json::from_str::<ServerEvent>(&text).unwrap(), event);
    }
}
