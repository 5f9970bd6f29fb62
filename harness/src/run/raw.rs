//! What one repetition left behind, before anything is derived from it.
//!
//! Plain data: filled by the controller, read by the summary. Times are `CLOCK_MONOTONIC` readings.

use std::collections::BTreeMap;

use c2m_schema::control::{
    AgentPrepared, AgentStats, AgentSummary, BroadcastLedger, BroadcastPlan, ServerReady, ServerStats,
};
use c2m_schema::rows::{Phase, SampleRow, Subject};
use c2m_schema::run::ShortenedRecord;

use crate::fleet::clock::Offset;
use crate::plan::Point;

/// How a repetition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All phases were gone through.
    Complete,
    /// Something did not happen that should have; what.
    Failed(String),
    /// The server was lost; when and how.
    ServerLost(String),
    /// An agent was lost; when and how.
    AgentLost(String),
    /// The person or the system asked for the end.
    Interrupted(String),
}

/// Memory and CPU at one moment, agents summed. Absent where a process could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident memory of the server.
    pub server_rss_bytes: Option<u64>,
    /// CPU time of the server since its start.
    pub server_cpu_ns: Option<u64>,
    /// Resident memory of all agents.
    pub agent_rss_bytes: Option<u64>,
    /// CPU time of all agents since their start.
    pub agent_cpu_ns: Option<u64>,
    /// Slab caches of sockets.
    pub slab_socket_bytes: Option<u64>,
    /// All slab that can't be reclaimed.
    pub slab_unreclaimable_bytes: Option<u64>,
    /// Pages of TCP buffers.
    pub tcp_memory_bytes: Option<u64>,
    /// Tracked connections and their limit.
    pub conntrack: Option<(u64, u64)>,
}

impl Reading {
    /// The reading in rows that were sampled at one moment. Sums over agents are absent unless all `agents` are there.
    pub fn of(rows: &[SampleRow], agents: usize) -> Self {
        let cpu = |r: &SampleRow| Some(r.cpu_user_ns? + r.cpu_system_ns?);
        let all = |value: &dyn Fn(&SampleRow) -> Option<u64>| {
            let rows: Vec<_> = rows.iter().filter(|r| r.subject == Subject::Agent).collect();
            if rows.len() == agents { rows.into_iter().map(value).sum() } else { None }
        };
        let server = rows.iter().find(|r| r.subject == Subject::Server);
        let hosts = || rows.iter().filter(|r| r.subject == Subject::Host);
        let sum = |value: fn(&SampleRow) -> Option<u64>| hosts().filter_map(value).reduce(|a, b| a + b);
        Self {
            server_rss_bytes: server.and_then(|r| r.rss_bytes),
            server_cpu_ns: server.and_then(cpu),
            agent_rss_bytes: all(&|r| r.rss_bytes),
            agent_cpu_ns: all(&cpu),
            slab_socket_bytes: sum(|r| r.slab_socket_bytes),
            slab_unreclaimable_bytes: sum(|r| r.slab_unreclaimable_bytes),
            tcp_memory_bytes: sum(|r| r.tcp_memory_bytes),
            // The server's host comes first.
            conntrack: hosts().find_map(|r| Some((r.conntrack_count?, r.conntrack_max?))),
        }
    }
}

impl Reading {
    /// Kernel memory of sockets, by the better source there is.
    pub fn socket_bytes(&self) -> Option<u64> {
        let slab = self.slab_socket_bytes.or(self.slab_unreclaimable_bytes)?;
        Some(slab + self.tcp_memory_bytes.unwrap_or(0))
    }
}

/// What one agent said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentRaw {
    /// How it does its plan.
    pub prepared: Option<AgentPrepared>,
    /// Its latest counters.
    pub stats: AgentStats,
    /// When its number of joined clients last rose.
    pub last_join_ns: Option<u64>,
    /// Latest ledger of each broadcast.
    pub ledgers: BTreeMap<u32, BroadcastLedger>,
    /// Whether it said that the measurement is complete.
    pub measured: bool,
    /// Its last line.
    pub summary: Option<AgentSummary>,
    /// Its clock against the first agent's, during the measurement; none without one.
    pub clock: Option<Offset>,
    /// How it ended, if it did so unasked.
    pub lost: Option<String>,
}

/// Everything known of one repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// The point.
    pub point: Point,
    /// Repetition.
    pub repetition: u32,
    /// How it ended.
    pub end: End,
    /// Phase in which it ended.
    pub phase: Phase,
    /// The server's first line.
    pub ready: Option<ServerReady>,
    /// The server's latest counters.
    pub server_stats: Option<ServerStats>,
    /// The agents, in order.
    pub agents: Vec<AgentRaw>,
    /// Due time of the first arrival.
    pub start_ns: Option<u64>,
    /// When the repetition was over.
    pub ended_ns: u64,
    /// Before the first client.
    pub baseline: Option<Reading>,
    /// All clients held, nothing sent.
    pub held: Option<Reading>,
    /// Clients joined when `held` was read.
    pub held_clients: u64,
    /// After the last broadcast.
    pub measured: Option<Reading>,
    /// The broadcasts that were asked for.
    pub broadcasts: Option<BroadcastPlan>,
    /// Phases that a person ended early.
    pub shortened: Vec<ShortenedRecord>,
}

impl Raw {
    /// A repetition that has not begun.
    pub fn new(point: Point, repetition: u32) -> Self {
        Self {
            point,
            repetition,
            end: End::Complete,
            phase: Phase::Start,
            ready: None,
            server_stats: None,
            agents: Vec::new(),
            start_ns: None,
            ended_ns: 0,
            baseline: None,
            held: None,
            held_clients: 0,
            measured: None,
            broadcasts: None,
            shortened: Vec::new(),
        }
    }

    /// The sum of a counter over all agents.
    pub fn sum(&self, counter: impl Fn(&AgentStats) -> u64) -> u64 {
        self.agents.iter().map(|a| counter(&a.stats)).sum()
    }
}
