//! The CSV rows of a run directory, one struct a file.
//!
//! Cumulative counters, integer base units in the names. `Option::None` is an empty cell: not measured. A row type
//! implements [`crate::table::Row`], which gives its file name; columns are in the order of the fields.

use serde::{Deserialize, Serialize};

use crate::control::PubsubState;

/// What became of a (point, repetition).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything the experiment expects was met.
    Ok,
    /// It ran to its end and missed an expectation.
    Failed,
    /// An agent or its clients were lost; the rest was measured.
    Partial,
    /// It did not come to its end. The row of a running point says so until it ends.
    #[default]
    Interrupted,
    /// It does not fit this host and was not tried.
    Skipped,
}

/// Part of a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Processes start; the baseline of memory is read.
    #[default]
    Start,
    /// Before the processes start: what bare sockets do is measured.
    Floor,
    /// Clients arrive.
    Ramp,
    /// All have arrived; nothing is sent.
    Settle,
    /// Broadcasts.
    Measure,
    /// Clients are held after the broadcasts.
    Hold,
    /// Clients leave, processes end.
    Drain,
}

impl Phase {
    /// The word in the CSV.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Floor => "floor",
            Self::Ramp => "ramp",
            Self::Settle => "settle",
            Self::Measure => "measure",
            Self::Hold => "hold",
            Self::Drain => "drain",
        }
    }
}

/// `points.csv`: the outcome of one repetition of one point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// Schema version of the row.
    pub schema: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Index of the point in the plan, from 0.
    pub point: u32,
    /// Repetition, from 0.
    pub repetition: u32,
    /// What tells this point from others with the same client count; empty when nothing does.
    pub variant: String,
    /// Outcome.
    pub status: Status,
    /// Why the outcome is not `ok`, for a person; empty when it is.
    pub reason: String,
    /// Clients asked for.
    pub clients_target: u64,
    /// Clients whose connect was begun.
    pub attempted: Option<u64>,
    /// Clients whose TCP connect completed.
    pub tcp_connected: Option<u64>,
    /// Clients whose WebSocket upgrade completed.
    pub upgraded: Option<u64>,
    /// Clients whose join was answered ok, ever.
    pub joined: Option<u64>,
    /// Clients joined when the measurement ended.
    pub live_at_end: Option<u64>,
    /// Clients lost after they had joined.
    pub dropped: Option<u64>,
    /// Joined clients per second from the first arrival's due time to the last join.
    pub arrival_per_s: Option<f64>,
    /// Due time of the arrival to TCP connected.
    pub connect_p99_ns: Option<u64>,
    /// Due time of the arrival to the 101 response.
    pub upgrade_p99_ns: Option<u64>,
    /// Due time of the arrival to the ok reply of the join.
    pub join_p50_ns: Option<u64>,
    /// As `join_p50_ns`, 99th percentile.
    pub join_p99_ns: Option<u64>,
    /// As `join_p50_ns`, exact maximum.
    pub join_max_ns: Option<u64>,
    /// Broadcasts sent.
    pub broadcasts: Option<u64>,
    /// JSON payload of each broadcast.
    pub payload_bytes: Option<u64>,
    /// Σ over broadcasts of the clients joined at the due time.
    pub deliveries_expected: Option<u64>,
    /// First copies received by expected clients.
    pub deliveries_received: Option<u64>,
    /// Further copies.
    pub deliveries_duplicate: Option<u64>,
    /// `deliveries_expected - deliveries_received`.
    pub deliveries_missing: Option<u64>,
    /// Received after a later sequence by the same client.
    pub deliveries_out_of_order: Option<u64>,
    /// Due time of a broadcast to its delivery, all deliveries of the repetition.
    pub delivery_p50_ns: Option<u64>,
    /// As `delivery_p50_ns`, 99th percentile.
    pub delivery_p99_ns: Option<u64>,
    /// As `delivery_p50_ns`, exact maximum.
    pub delivery_max_ns: Option<u64>,
    /// Due time of a broadcast to its last delivery, median over the broadcasts.
    pub last_delivery_p50_ns: Option<u64>,
    /// As `last_delivery_p50_ns`, maximum over the broadcasts.
    pub last_delivery_max_ns: Option<u64>,
    /// Resident memory of the server when all clients were held and nothing was sent.
    pub server_rss_bytes: Option<u64>,
    /// Server RSS over its baseline before the first client, per client held.
    pub server_user_bytes_per_client: Option<f64>,
    /// Agents' RSS over their baselines, per client held.
    pub agent_user_bytes_per_client: Option<f64>,
    /// Socket slab caches and TCP buffer pages over their baseline, per client held; both ends when on one host.
    pub kernel_bytes_per_client: Option<f64>,
    /// Sum of the three.
    pub all_in_bytes_per_client: Option<f64>,
    /// CPU time of the server from the first arrival to the end of the measurement.
    pub server_cpu_ns: Option<u64>,
    /// CPU time of the agents over the same time.
    pub agent_cpu_ns: Option<u64>,
    /// Whether the generator could not keep its schedule (METHODOLOGY.md, "Saturation").
    pub loadgen_saturated: Option<bool>,
    /// CPU time of the server during the measure phase alone.
    pub server_measure_cpu_ns: Option<u64>,
    /// CPU time of the agents during the measure phase alone.
    pub agent_measure_cpu_ns: Option<u64>,
    /// Server RSS before the first client.
    pub server_baseline_rss_bytes: Option<u64>,
    /// Agents' RSS before the first client, summed.
    pub agent_baseline_rss_bytes: Option<u64>,
    /// Agents' RSS when all clients were held and nothing was sent, summed.
    pub agent_rss_bytes: Option<u64>,
    /// Where kernel memory was read: `slabinfo` or `sunreclaim`.
    pub kernel_source: String,
    /// Threads of the server that hold connections.
    pub server_shards: Option<u32>,
    /// Threads of the agents that hold clients, summed.
    pub agent_workers: Option<u32>,
    /// Worst lag of an arrival behind its due time.
    pub arrival_lag_max_ns: Option<u64>,
    /// Worst lag of a broadcast's sending behind its due time.
    pub publish_lag_max_ns: Option<u64>,
    /// Deliveries that the observers checked byte for byte.
    pub observed: Option<u64>,
    /// Of those, how many differed from what was published.
    pub observed_mismatch: Option<u64>,
    /// First arrival's due time, nanoseconds since the run began.
    pub started_ns: Option<u64>,
    /// End of the repetition, nanoseconds since the run began.
    pub ended_ns: Option<u64>,
    /// Rooms over which the clients are spread; empty when all are in one topic.
    pub rooms: Option<u64>,
    /// Clients that read slowly or never, of `joined`; empty without such clients. They are in no ledger.
    pub slow_clients: Option<u64>,
    /// Those of them that were lost, of `dropped`.
    pub slow_dropped: Option<u64>,
    /// Σ over broadcasts of the copies received by clients that were not to get one.
    pub deliveries_unexpected: Option<u64>,
    /// How often a client was joined again; this and the next three are empty where clients don't reconnect.
    pub reconnects: Option<u64>,
    /// Clients still on their way back at the end.
    pub reconnecting_at_end: Option<u64>,
    /// Clients that were refused when they came back (HTTP 4xx), which is final.
    pub reconnect_refused: Option<u64>,
    /// Σ over broadcasts of the copies missed by clients whose connection was lost, and who came back or still try.
    pub deliveries_lost_away: Option<u64>,
    /// As `delivery_p50_ns`, 90th percentile.
    pub delivery_p90_ns: Option<u64>,
    /// As `delivery_p50_ns`, 99.9th percentile.
    pub delivery_p999_ns: Option<u64>,
    /// As `delivery_p50_ns`, 99.99th percentile.
    pub delivery_p9999_ns: Option<u64>,
    /// Largest error of an agent's clock against that of the first agent's host, which the due times are of: times of
    /// deliveries may be off by so much. Empty where all agents share one clock.
    pub clock_error_max_ns: Option<u64>,
    /// As `delivery_p50_ns`, of the first agent's members alone, whose times have no such error; empty where all agents
    /// share one clock.
    pub local_delivery_p50_ns: Option<u64>,
    /// As `local_delivery_p50_ns`, 99th percentile.
    pub local_delivery_p99_ns: Option<u64>,
    /// As `local_delivery_p50_ns`, exact maximum.
    pub local_delivery_max_ns: Option<u64>,
}

/// What a row of `samples.csv` is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The whole machine.
    #[default]
    Host,
    /// The server process.
    Server,
    /// One load agent.
    Agent,
    /// The harness, sampler included.
    Harness,
}

/// `samples.csv`: one row per (second, process or host). Columns that are not of the subject are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// When it was read, nanoseconds since the run began.
    pub t_ns: u64,
    /// When it was read, wall clock, nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Phase at that moment.
    pub phase: Phase,
    /// What it is about.
    pub subject: Subject,
    /// Which of several: host name, or the index of the agent.
    pub name: String,
    /// Process id.
    pub pid: Option<u32>,
    /// Resident set of the process.
    pub rss_bytes: Option<u64>,
    /// CPU time of the process in user mode since its start.
    pub cpu_user_ns: Option<u64>,
    /// CPU time of the process in kernel mode since its start.
    pub cpu_system_ns: Option<u64>,
    /// Threads of the process; of the host: of all processes.
    pub threads: Option<u64>,
    /// Agent: clients whose connect was begun. `attempted = pending + failed + live + dropped + reconnecting` holds.
    pub attempted: Option<u64>,
    /// Agent: clients between connect and join.
    pub pending: Option<u64>,
    /// Agent: TCP connects completed.
    pub tcp_connected: Option<u64>,
    /// Agent: upgrades completed.
    pub upgraded: Option<u64>,
    /// Agent: joins answered ok, ever. Server: memberships now.
    pub joined: Option<u64>,
    /// Agent: joined now.
    pub live: Option<u64>,
    /// Agent: failed before joined, or refused when they came back.
    pub failed: Option<u64>,
    /// Agent: lost for good after joined.
    pub dropped: Option<u64>,
    /// Server: open sockets.
    pub connections: Option<u64>,
    /// Agent: broadcast deliveries received. Server: broadcast frames handed to the kernel.
    pub deliveries: Option<u64>,
    /// Bytes read from sockets.
    pub bytes_in: Option<u64>,
    /// Bytes written to sockets.
    pub bytes_out: Option<u64>,
    /// Host: memory.
    pub memory_total_bytes: Option<u64>,
    /// Host: memory that can be had without swapping.
    pub memory_available_bytes: Option<u64>,
    /// Host: total less available, as htop counts it.
    pub memory_used_bytes: Option<u64>,
    /// Host: swap.
    pub swap_total_bytes: Option<u64>,
    /// Host: swap in use.
    pub swap_used_bytes: Option<u64>,
    /// Host: slab that can't be reclaimed (`SUnreclaim`).
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Host: slab caches that grow with sockets and nothing else (TCP, `sock_inode_cache`, filp, dentry, `eventpoll_*`, `lsm_*`).
    pub slab_socket_bytes: Option<u64>,
    /// Host: sockets in use in the network namespace of the run.
    pub sockets: Option<u64>,
    /// Host: TCP sockets in use.
    pub tcp_sockets: Option<u64>,
    /// Host: pages of TCP buffers, as bytes.
    pub tcp_memory_bytes: Option<u64>,
    /// Host: load average over one minute.
    pub load_1m: Option<f64>,
    /// Host: load average over five minutes.
    pub load_5m: Option<f64>,
    /// Host: load average over fifteen minutes.
    pub load_15m: Option<f64>,
    /// Host: processes.
    pub tasks: Option<u64>,
    /// Host: runnable threads.
    pub tasks_running: Option<u64>,
    /// Host: seconds since boot.
    pub uptime_s: Option<u64>,
    /// Host: tracked connections; empty without connection tracking.
    pub conntrack_count: Option<u64>,
    /// Host: limit of tracked connections.
    pub conntrack_max: Option<u64>,
    /// Host: SYNs dropped because an accept queue was full (cumulative).
    pub listen_overflows: Option<u64>,
    /// Host: SYN and SYN-ACK retransmissions (cumulative).
    pub syn_retransmits: Option<u64>,
    /// Server, agent: when it read the counters in this row itself, nanoseconds since the run began.
    pub counters_ns: Option<u64>,
    /// Agent: were joined, lost their connection or channel, and are on their way back.
    pub reconnecting: Option<u64>,
    /// Agent: how often a client was joined again.
    pub reconnects: Option<u64>,
    /// Host that it was read on, where there are several; else empty.
    #[serde(default)]
    pub host: String,
    /// Server: `connected` to NATS, or `away` from it with broadcasts that stay on this node; empty without `--pubsub`.
    #[serde(default)]
    pub pubsub_state: Option<PubsubState>,
    /// Server: other nodes heard of lately.
    #[serde(default)]
    pub pubsub_nodes: Option<u64>,
    /// Server: broadcasts handed to NATS.
    #[serde(default)]
    pub pubsub_published: Option<u64>,
    /// Server: broadcasts of other nodes delivered here.
    #[serde(default)]
    pub pubsub_received: Option<u64>,
    /// Server: broadcasts that could not be handed to NATS and went to this node's members alone.
    #[serde(default)]
    pub pubsub_unsent: Option<u64>,
    /// Server: broadcasts of other nodes that never came, known by the gaps they left.
    #[serde(default)]
    pub pubsub_missed: Option<u64>,
    /// Server: broadcasts of other nodes that came twice or after a later one, and were not delivered.
    #[serde(default)]
    pub pubsub_stale: Option<u64>,
    /// Server: how often the connection to NATS was lost.
    #[serde(default)]
    pub pubsub_losses: Option<u64>,
}

/// `cores.csv`: one row per (second, core), cumulative since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// When it was read, nanoseconds since the run began.
    pub t_ns: u64,
    /// Host name.
    pub name: String,
    /// Core number.
    pub core: u32,
    /// Time in user mode, niced included.
    pub user_ns: u64,
    /// Time in the kernel.
    pub system_ns: u64,
    /// Time in interrupts, soft and hard.
    pub interrupt_ns: u64,
    /// Time stolen by the hypervisor.
    pub steal_ns: u64,
    /// Idle time, waiting for I/O included.
    pub idle_ns: u64,
}

/// `broadcasts.csv`: the ledger of one broadcast over all agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// Sequence in the repetition, from 0.
    pub sequence: u32,
    /// When it was due, nanoseconds since the run began.
    pub due_ns: u64,
    /// When it was sent; empty if it never was.
    pub sent_ns: Option<u64>,
    /// When the server's reply to the publisher came.
    pub replied_ns: Option<u64>,
    /// First delivery.
    pub first_ns: Option<u64>,
    /// Last delivery.
    pub last_ns: Option<u64>,
    /// Payload.
    pub payload_bytes: u64,
    /// Clients joined at the due time, and those on their way back.
    pub expected: u64,
    /// First copies received by them.
    pub received: u64,
    /// Further copies.
    pub duplicate: u64,
    /// `expected - received`.
    pub missing: u64,
    /// Received after a later sequence by the same client.
    pub out_of_order: u64,
    /// First copies received by clients that were not joined at the due time, and copies in a wrong room.
    pub unexpected: u64,
    /// Part of `missing`: expected clients that were dropped first.
    pub lost_by_drop: u64,
    /// Due time to delivery, of received copies only.
    pub latency_p50_ns: Option<u64>,
    /// As `latency_p50_ns`.
    pub latency_p90_ns: Option<u64>,
    /// As `latency_p50_ns`.
    pub latency_p99_ns: Option<u64>,
    /// As `latency_p50_ns`.
    pub latency_p999_ns: Option<u64>,
    /// Exact maximum.
    pub latency_max_ns: Option<u64>,
    /// Send time to delivery: not corrected for a late publisher.
    pub uncorrected_p50_ns: Option<u64>,
    /// As `uncorrected_p50_ns`.
    pub uncorrected_p99_ns: Option<u64>,
    /// Samples above the histogram's range of 60 s; a percentile that falls there is empty.
    pub over_range: u64,
    /// Negative durations: clock faults, in no percentile.
    pub negative: u64,
    /// The room it went to; empty when all clients are in one topic.
    pub room: Option<u64>,
    /// Part of `missing`: expected clients that lost their connection first, or were on their way back at the due time, and
    /// all of them when the sender was (then `sent_ns` is empty); empty where clients don't reconnect.
    pub lost_away: Option<u64>,
    /// As `latency_p50_ns`, 99.99th percentile.
    pub latency_p9999_ns: Option<u64>,
}

/// `latency.csv`: recorded histogram buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// `connect`, `upgrade`, `join`, `arrival_lag`, `heartbeat`, `heartbeat_lag`, `publish_lag`, `delivery`,
    /// `delivery_uncorrected`, `reconnect`.
    pub metric: String,
    /// Broadcast sequence, where the metric is of one broadcast.
    pub sequence: Option<u32>,
    /// Highest value of the bucket.
    pub bucket_high_ns: u64,
    /// Samples in the bucket.
    pub count: u64,
}

/// `errors.csv`: failure counts by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// `server`, or `agent-0`, `agent-1`, …
    pub side: String,
    /// What failed.
    pub kind: String,
    /// errno, HTTP status or close code, as the kind says; 0 where there is none.
    pub code: i64,
    /// How often.
    pub count: u64,
    /// Whether clients came back from it or tried again, so that it is in neither `failed` nor `dropped`; empty where
    /// clients don't reconnect, and of servers.
    pub retried: Option<bool>,
}

/// `floor.csv`: what bare sockets did on this machine, beside the repetition that ran next to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloorRow {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// Connections held, both ends in one process.
    pub clients: u64,
    /// Threads, both ends.
    pub threads: u64,
    /// Bytes of one message on the wire.
    pub wire_bytes: u64,
    /// Messages to all.
    pub broadcasts: u64,
    /// First connect begun to the last connected and accepted.
    pub connect_ns: Option<u64>,
    /// Connections per second over that time.
    pub connects_per_s: Option<f64>,
    /// Socket slab caches and TCP buffer pages over their baseline, both ends, per connection.
    pub kernel_bytes_per_client: Option<f64>,
    /// Where kernel memory was read: `slabinfo` or `sunreclaim`.
    pub kernel_source: String,
    /// First send begun to the last delivery, least of the broadcasts.
    pub to_all_min_ns: Option<u64>,
    /// As `to_all_min_ns`, median; of an even number the lower.
    pub to_all_p50_ns: Option<u64>,
    /// As `to_all_min_ns`, maximum.
    pub to_all_max_ns: Option<u64>,
    /// CPU time of the process during the median broadcast, both ends.
    pub cpu_p50_ns: Option<u64>,
    /// Why there are no figures.
    pub reason: String,
    /// First connect begun to the end of the last exchange, of as many further connections, on each of which as many
    /// bytes went to and fro as in an upgrade and a join.
    pub arrive_ns: Option<u64>,
    /// Such connections per second over that time.
    pub arrivals_per_s: Option<f64>,
}
