//! What the controller knows of the children of one repetition, and how a line of theirs changes it.
//!
//! Owned by the controller, on its thread.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentEvent, AgentStats, BroadcastLedger, ServerEvent, ServerStats};
use c2m_schema::histogram::HistogramWire;

use super::child::{Child, Input, Who};
use super::raw::Raw;
use super::watch::Watch;
use crate::fleet::clock::Offset;

/// Why a repetition does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Something did not happen that should have.
    Failed(String),
    /// The server ended unasked.
    ServerLost(String),
    /// An agent ended unasked, and the rest is of no use without it.
    AgentLost(String),
    /// The end was asked for.
    Interrupted(String),
}

/// An agent says something every second; one that does not for so long has stalled.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How an end in order is described.
const IN_ORDER: &str = "exit status 0";
const BY_SIGTERM: &str = "killed by signal 15";

/// One child and what it has said beyond what is in [`Raw`].
#[derive(Default)]
pub(super) struct Slot {
    pub(super) child: Option<Box<dyn Child>>,
    pub(super) greeted: bool,
    pub(super) probed: bool,
    /// It ended; how.
    pub(super) ended: Option<String>,
    /// It was asked to end.
    pub(super) asked_to_end: bool,
    /// Its host's clock against this one's.
    pub(super) clock: Offset,
    /// When it last said something.
    pub(super) heard: Option<Instant>,
}

/// The children of one repetition.
pub(super) struct State {
    pub(super) raw: Raw,
    pub(super) server: Slot,
    pub(super) server_clock: Offset,
    pub(super) agents: Vec<Slot>,
    /// Lines that people should see.
    pub(super) notes: Vec<String>,
    /// Broadcasts of which an agent has given account since the view was told of them.
    pub(super) fresh: BTreeSet<u32>,
}

impl State {
    pub(super) fn new(raw: Raw, agents: usize) -> Self {
        let agents = (0..agents).map(|_| Slot::default()).collect();
        Self {
            raw,
            server: Slot::default(),
            server_clock: Offset::default(),
            agents,
            notes: Vec::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// Agents that have not been lost.
    pub(super) fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.agents.len()).filter(|&i| self.agents[i].ended.is_none())
    }

    /// Takes what a child said or that it ended.
    pub(super) fn take(&mut self, input: Input, watch: &mut dyn Watch) -> Result<(), Halt> {
        match input {
            Input::Line(Who::Server, line) => self.server_line(&line, watch),
            Input::Line(Who::Agent(i), line) => self.agent_line(i, &line, watch),
            Input::Exited(who, how) => self.exited(who, how, watch),
        }
    }

    fn server_line(&mut self, line: &str, watch: &mut dyn Watch) -> Result<(), Halt> {
        let event: ServerEvent = serde_json::from_str(line).map_err(|e| not_a_line(Who::Server, line, &e))?;
        match event {
            ServerEvent::Ready(ready) => {
                if ready.protocol != CONTROL_PROTOCOL {
                    return Err(other_protocol(Who::Server, ready.protocol));
                }
                self.raw.ready = Some(ready);
            }
            ServerEvent::Stats(stats) => {
                let at_ns = self.server_clock.to_here(stats.at_ns);
                let stats = ServerStats { at_ns, ..stats };
                watch.server_stats(&stats);
                self.raw.server_stats = Some(stats);
            }
            ServerEvent::Drained { cut, .. } => {
                if cut > 0 {
                    self.notes.push(format!("server cut {cut} connections at the end of its drain"));
                }
            }
        }
        Ok(())
    }

    fn agent_line(&mut self, i: usize, line: &str, watch: &mut dyn Watch) -> Result<(), Halt> {
        let who = Who::Agent(i);
        let event: AgentEvent = serde_json::from_str(line).map_err(|e| not_a_line(who, line, &e))?;
        let clock = self.agents[i].clock;
        self.agents[i].heard = Some(Instant::now());
        let raw = &mut self.raw.agents[i];
        match event {
            AgentEvent::Hello { protocol, .. } if protocol != CONTROL_PROTOCOL => {
                return Err(other_protocol(who, protocol));
            }
            AgentEvent::Hello { .. } => self.agents[i].greeted = true,
            AgentEvent::Prepared(prepared) => {
                self.notes.extend(prepared.warnings.iter().map(|w| format!("{who}: {w}")));
                raw.prepared = Some(prepared);
            }
            AgentEvent::Probed => self.agents[i].probed = true,
            AgentEvent::Stats(stats) => {
                let stats = AgentStats { at_ns: clock.to_here(stats.at_ns), ..stats };
                watch.agent_stats(i, &stats);
                self.agent_stats(i, stats);
            }
            AgentEvent::Broadcast(ledger) => {
                readable(who, [&ledger.from_due, &ledger.from_sent])?;
                self.fresh.insert(ledger.sequence);
                raw.ledgers.insert(ledger.sequence, of_here(ledger, clock));
            }
            AgentEvent::Measured => raw.measured = true,
            AgentEvent::Summary(mut summary) => {
                summary.stats.at_ns = clock.to_here(summary.stats.at_ns);
                watch.agent_stats(i, &summary.stats);
                readable(who, summary.latency.iter().map(|(_, wire)| wire))?;
                readable(who, summary.broadcasts.iter().flat_map(|l| [&l.from_due, &l.from_sent]))?;
                raw.ledgers.extend(summary.broadcasts.iter().map(|l| (l.sequence, of_here(l.clone(), clock))));
                let stats = summary.stats.clone();
                raw.summary = Some(summary);
                self.agent_stats(i, stats);
            }
            AgentEvent::Failed { reason } => return Err(Halt::Failed(format!("{who} could not go on: {reason}"))),
        }
        Ok(())
    }

    /// Gives up agents of which nothing was heard for too long: the clients of such a one are lost with it.
    pub(super) fn lose_stalled(&mut self, watch: &mut dyn Watch) -> Result<(), Halt> {
        if self.raw.start_ns.is_none() {
            return Ok(());
        }
        for i in 0..self.agents.len() {
            let slot = &mut self.agents[i];
            let is_silent = slot.heard.is_some_and(|heard| heard.elapsed() > SILENCE_MAX);
            if is_silent && slot.ended.is_none() && !slot.asked_to_end {
                // Kills it.
                slot.child = None;
                self.exited(Who::Agent(i), format!("stalled: silent for {} s", SILENCE_MAX.as_secs()), watch)?;
            }
        }
        Ok(())
    }

    fn agent_stats(&mut self, i: usize, stats: AgentStats) {
        let raw = &mut self.raw.agents[i];
        if stats.joined > raw.stats.joined {
            raw.last_join_ns = Some(stats.at_ns);
        }
        raw.stats = stats;
    }

    fn exited(&mut self, who: Who, how: String, watch: &mut dyn Watch) -> Result<(), Halt> {
        watch.forget(who);
        let asked = match who {
            Who::Server => self.server.asked_to_end,
            Who::Agent(i) => self.agents[i].asked_to_end,
        };
        // A server that is not c2m-server is asked by a signal, of which most programs end.
        let by_signal = who == Who::Server && how.starts_with(BY_SIGTERM);
        if asked && !how.starts_with(IN_ORDER) && !by_signal {
            self.notes.push(format!("{who} did not end in order ({how})"));
        }
        let phase = self.raw.phase.name();
        match who {
            Who::Server => {
                let reason = format!("the server was lost in {phase} ({how})");
                self.server.ended = Some(how);
                match self.raw.ready {
                    _ if asked => Ok(()),
                    None => Err(Halt::Failed(reason)),
                    Some(_) => Err(Halt::ServerLost(reason)),
                }
            }
            Who::Agent(i) => {
                if self.agents[i].ended.is_some() {
                    // Given up before.
                    return Ok(());
                }
                let reason = format!("agent {i} was lost in {phase} ({how})");
                self.agents[i].ended = Some(how);
                if asked {
                    return Ok(());
                }
                if self.raw.start_ns.is_none() {
                    return Err(Halt::Failed(reason));
                }
                self.raw.agents[i].lost = Some(reason.clone());
                // The first agent publishes: without it, or without any, there is nothing to measure.
                if i == 0 || self.living().next().is_none() {
                    return Err(Halt::AgentLost(reason));
                }
                self.notes.push(reason);
                Ok(())
            }
        }
    }
}

/// Times of a ledger on this host's clock.
fn of_here(ledger: BroadcastLedger, clock: Offset) -> BroadcastLedger {
    let here = |ns: Option<u64>| ns.map(|ns| clock.to_here(ns));
    BroadcastLedger {
        due_ns: clock.to_here(ledger.due_ns),
        sent_ns: here(ledger.sent_ns),
        replied_ns: here(ledger.replied_ns),
        first_ns: here(ledger.first_ns),
        last_ns: here(ledger.last_ns),
        ..ledger
    }
}

/// Refuses histograms of other bounds at once, so that nothing after this has to.
fn readable<'a>(who: Who, wires: impl IntoIterator<Item = &'a HistogramWire>) -> Result<(), Halt> {
    wires.into_iter().try_for_each(|wire| {
        wire.to_recorder()
            .map(drop)
            .map_err(|e| Halt::Failed(format!("{who} sent a histogram that can't be read: {e}")))
    })
}

fn not_a_line(who: Who, line: &str, error: &serde_json::Error) -> Halt {
    let shown: String = line.chars().take(120).collect();
    Halt::Failed(format!("{who} wrote what is no control line ({error}): {shown}"))
}

fn other_protocol(who: Who, found: u32) -> Halt {
    Halt::Failed(format!(
        "{who} speaks control protocol {found}, this harness {CONTROL_PROTOCOL}: build all programs from one revision"
    ))
}
