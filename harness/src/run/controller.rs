//! One repetition of one point: processes, phases, waits.
//!
//! Single-threaded: it owns the children and everything they said, and waits on one channel. Every wait is bounded, and
//! every child is gone when [`repetition`] returns, whichever way it returns.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use c2m_host::clock::monotonic_ns;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentCommand, BroadcastPlan};
use c2m_schema::rows::Phase;
use c2m_schema::run::ShortenedRecord;

use super::bounds::Bounds;
use super::child::{Child, Foreign, Input, Launch, ServerSpec, Who};
use super::progress::{Meter, Progress, Shown};
use super::quiet;
use super::raw::{AgentRaw, End, Raw, Reading};
use super::split::{Place, agent_plans};
use super::state::{Halt, Slot, State};
use super::watch::Watch;
use super::wishes::{Wishes, may_end};
use crate::experiment::Experiment;
use crate::fleet::clock::Offset;
use crate::plan::Point;
use crate::summary::ledger;
use crate::view::state::Reached;

/// The longest the controller sleeps before it looks whether the end was asked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What a child is given to end in order once the end was asked for.
const HURRY: Duration = Duration::from_secs(5);
/// Between the `start` line and the first arrival.
const START_LEAD_NS: u64 = 200_000_000;
/// Between the `measure` line and the first broadcast.
const MEASURE_LEAD_NS: u64 = 500_000_000;

/// What is asked of one repetition.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The definition.
    pub experiment: &'a Experiment,
    /// The point.
    pub point: &'a Point,
    /// Repetition, from 0.
    pub repetition: u32,
    /// What each agent holds.
    pub places: &'a [Place],
    /// What random numbers of this repetition are drawn from.
    pub seed: u64,
    /// How people call it, e.g. `point 1/4`.
    pub title: &'a str,
    /// Longest waits.
    pub bounds: Bounds,
    /// Set when the end is asked for.
    pub stop: &'a AtomicBool,
    /// Phases that a person wishes to end.
    pub wishes: &'a Wishes,
}

/// Runs one repetition. What went wrong is in [`Raw::end`]; an error is of the harness itself (disk, sampler).
pub fn repetition(
    task: Task<'_>,
    launch: &mut dyn Launch,
    watch: &mut dyn Watch,
    progress: &Progress,
) -> anyhow::Result<Raw> {
    let agents = task.places.len();
    let mut raw = Raw::new(task.point.clone(), task.repetition);
    raw.agents = vec![AgentRaw::default(); agents];
    let (to, inputs) = mpsc::channel();
    let mut controller = Controller {
        task,
        launch,
        watch,
        meter: Meter::new(progress.clone()),
        state: State::new(raw, agents),
        inputs,
        to,
        turn: 0,
        phase_length: None,
        error: None,
    };
    controller.watch.begin(task.point.index, task.repetition);
    let end = match controller.phases() {
        Ok(()) => End::Complete,
        Err(Halt::Failed(reason)) => End::Failed(reason),
        Err(Halt::ServerLost(reason)) => End::ServerLost(reason),
        Err(Halt::AgentLost(reason)) => End::AgentLost(reason),
        Err(Halt::Interrupted(reason)) => End::Interrupted(reason),
    };
    let mut raw = controller.wind_down(end)?;
    raw.ended_ns = monotonic_ns();
    Ok(raw)
}

struct Controller<'a> {
    task: Task<'a>,
    launch: &'a mut dyn Launch,
    watch: &'a mut dyn Watch,
    meter: Meter,
    state: State,
    inputs: Receiver<Input>,
    to: Sender<Input>,
    /// Of the phase that is on, see [`Wishes`].
    turn: u64,
    /// How long the phase is to take, where that is given.
    phase_length: Option<Duration>,
    /// A fault of the harness itself, which ends the run after the children are gone.
    error: Option<anyhow::Error>,
}

impl Controller<'_> {
    fn phases(&mut self) -> Result<(), Halt> {
        self.start_server()?;
        self.start_agents()?;
        self.state.raw.baseline = Some(self.baseline()?);
        self.ramp()?;
        self.pass_phase(Phase::Settle, self.task.experiment.measure.settle_s)?;
        self.state.raw.held = Some(self.reading()?);
        self.state.raw.held_clients = self.live();
        self.measure()?;
        self.pass_phase(Phase::Hold, self.task.experiment.measure.hold_s)
    }

    fn start_server(&mut self) -> Result<(), Halt> {
        self.enter(Phase::Start);
        let server = &self.task.experiment.server;
        if server.is_remote() {
            return Ok(());
        }
        let spec = ServerSpec {
            foreign: server.ready.clone().map(|ready| Foreign {
                command: server.command.0.clone(),
                dir: server.dir.clone(),
                env: server.env.clone(),
                ready,
            }),
            engine: server.own_engine(),
            listen: self.launch.listen(),
            clients: self.task.point.clients,
            idle_timeout_s: server.idle_timeout_s,
            shards: server.shards,
            file_tables: server.file_tables,
            pubsub: server.pubsub.clone(),
        };
        let child = self.launch.server(&spec, self.to.clone()).map_err(|e| Halt::Failed(format!("{e:#}")))?;
        self.watches(Who::Server, child.as_ref());
        self.state.server.child = Some(child);
        self.wait("the server is ready", self.task.bounds.ready, |s| s.raw.ready.is_some())
    }

    fn start_agents(&mut self) -> Result<(), Halt> {
        for i in 0..self.state.agents.len() {
            let child = self.launch.agent(i, self.to.clone()).map_err(|e| Halt::Failed(format!("{e:#}")))?;
            self.watches(Who::Agent(i), child.as_ref());
            self.state.agents[i].child = Some(child);
            self.tell(i, &AgentCommand::Hello { protocol: CONTROL_PROTOCOL });
        }
        let bound = self.task.bounds.answer;
        self.wait("every agent has said hello", bound, |s| s.agents.iter().all(|a| a.greeted))?;
        let address = self.state.raw.ready.as_ref().map(|r| r.address.clone()).unwrap_or_default();
        self.launch.listens(self.task.experiment.server.authority().unwrap_or(&address));
        let Task { experiment, point, places, seed, .. } = self.task;
        let own = || format!("ws://{}/socket/websocket", self.launch.reached(&address));
        let url = experiment.server.url.clone().unwrap_or_else(own);
        let plans = agent_plans(experiment, point, places, &url, seed);
        for (i, plan) in plans.into_iter().enumerate() {
            self.tell(i, &AgentCommand::Prepare(Box::new(plan)));
        }
        self.wait("every agent is prepared", bound, |s| s.raw.agents.iter().all(|a| a.prepared.is_some()))?;
        self.tell_all(&AgentCommand::Probe);
        self.wait("every agent has probed the server", bound, |s| s.agents.iter().all(|a| a.probed))
    }

    fn watches(&mut self, who: Who, child: &dyn Child) {
        if let Some(watched) = child.watched() {
            self.watch.process(who, watched);
        }
    }

    /// Asks every child's host what its clock shows. Fails when one does not answer, unless its agent is lost already.
    fn set_clocks(&mut self) -> Result<Vec<Offset>, Halt> {
        self.state.server_clock = self.clock(Who::Server)?;
        let mut clocks = Vec::with_capacity(self.state.agents.len());
        for i in 0..self.state.agents.len() {
            let ended = self.state.agents[i].ended.is_some();
            clocks.push(if ended { Offset::default() } else { self.clock(Who::Agent(i))? });
        }
        for (slot, clock) in self.state.agents.iter_mut().zip(&clocks) {
            slot.clock = *clock;
        }
        Ok(clocks)
    }

    fn clock(&mut self, who: Who) -> Result<Offset, Halt> {
        self.launch.clock(who).map_err(|error| Halt::Failed(format!("{error:#}")))
    }

    /// Where each agent's clock is against that of the first agent's host, on which there is no doubt about it.
    fn against_first(&self, clocks: &[Offset]) -> Vec<Offset> {
        let host = |i| self.launch.host(Who::Agent(i));
        let against = |(i, clock): (usize, &Offset)| {
            if host(i) == host(0) { Offset::default() } else { clock.against(clocks[0]) }
        };
        clocks.iter().enumerate().map(against).collect()
    }

    /// Reads memory once the kernel has taken back what the sockets of an earlier point had, or does not any more.
    fn baseline(&mut self) -> Result<Reading, Halt> {
        let mut last = self.reading()?;
        for _ in 0..quiet::READINGS_MAX {
            self.pass(quiet::INTERVAL)?;
            let next = self.reading()?;
            let is_quiet = quiet::is_quiet(last.socket_bytes(), next.socket_bytes());
            last = next;
            if is_quiet {
                break;
            }
        }
        Ok(last)
    }

    fn ramp(&mut self) -> Result<(), Halt> {
        self.enter(Phase::Ramp);
        self.set_clocks()?;
        let start_ns = monotonic_ns() + START_LEAD_NS;
        self.state.raw.start_ns = Some(start_ns);
        for i in 0..self.state.agents.len() {
            let start_ns = self.state.agents[i].clock.to_there(start_ns);
            self.tell(i, &AgentCommand::Start { start_ns });
        }
        let places = self.task.places;
        let arrived = |s: &State| {
            let has =
                |i: usize| s.raw.agents[i].stats.attempted >= places[i].clients && s.raw.agents[i].stats.pending == 0;
            s.living().all(has)
        };
        let end = Instant::now() + self.task.bounds.ramp;
        let mut moved = (Instant::now(), (0, 0));
        while !arrived(&self.state) {
            let now = (self.state.raw.sum(|a| a.attempted), self.state.raw.sum(|a| a.pending));
            if now != moved.1 {
                moved = (Instant::now(), now);
            }
            let stalled = moved.0 + self.task.bounds.stall;
            if Instant::now() >= end.min(stalled) {
                let (attempted, pending) = now;
                return Err(Halt::Failed(format!(
                    "the ramp did not end: {attempted} of {} clients attempted, {pending} of them pending, {}",
                    self.task.point.clients,
                    if Instant::now() >= end { "out of time" } else { "and nothing moved any more" }
                )));
            }
            self.next(end.min(stalled))?;
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<(), Halt> {
        let (broadcast, point) = (&self.task.experiment.broadcast, self.task.point);
        if broadcast.count == 0 {
            return Ok(());
        }
        if self.live() == 0 {
            return Err(Halt::Failed("no client was joined when the measurement should have begun".into()));
        }
        self.enter(Phase::Measure);
        let clocks = self.set_clocks()?;
        let before = self.against_first(&clocks);
        let plan = BroadcastPlan {
            first_due_ns: monotonic_ns() + MEASURE_LEAD_NS,
            count: broadcast.count,
            interval_ns: point.interval_ns,
            payload_bytes: point.payload_bytes,
            deadline_ns: broadcast.deadline_ms * 1_000_000,
            clock_offset_ns: 0,
        };
        let window_ns = MEASURE_LEAD_NS + u64::from(plan.count.saturating_sub(1)) * plan.interval_ns + plan.deadline_ns;
        self.state.raw.broadcasts = Some(plan.clone());
        // Due times agree to the nanosecond: each is the first agent's, moved by the offset that stamps are moved by.
        let first_due_ns = clocks[0].to_there(plan.first_due_ns);
        for (i, offset) in before.iter().enumerate() {
            let first_due_ns = offset.to_there(first_due_ns);
            self.tell(i, &AgentCommand::Measure(BroadcastPlan { first_due_ns, clock_offset_ns: offset.ns, ..plan }));
        }
        let bound = Duration::from_nanos(window_ns) + self.task.bounds.measured;
        self.wait("every broadcast is complete or past its deadline", bound, |s| {
            s.living().all(|i| s.raw.agents[i].measured)
        })?;
        self.state.raw.measured = Some(self.reading()?);
        // As they were told to the agents, with the error of both moments: times of deliveries are off by no more.
        let after = self.set_clocks()?;
        let after = self.against_first(&after);
        for (agent, (before, after)) in self.state.raw.agents.iter_mut().zip(before.iter().zip(after)) {
            agent.clock = agent.lost.is_none().then(|| before.until(after));
        }
        Ok(())
    }

    /// Ends the children in order, as far as they still answer, and then in any case.
    fn wind_down(mut self, end: End) -> anyhow::Result<Raw> {
        let bounds = self.task.bounds;
        let ended_in = self.state.raw.phase;
        self.enter(Phase::Drain);
        for slot in &mut self.state.agents {
            slot.asked_to_end = true;
        }
        if self.state.raw.start_ns.is_some() {
            self.tell_all(&AgentCommand::Stop);
            self.settle_for(bounds.summary, |s| s.living().all(|i| s.raw.agents[i].summary.is_some()));
        }
        self.state.agents.iter_mut().for_each(close);
        self.settle_for(bounds.exit, |s| s.living().next().is_none());
        self.state.server.asked_to_end = true;
        close(&mut self.state.server);
        self.settle_for(bounds.exit, |s| s.server.child.is_none() || s.server.ended.is_some());
        for (who, slot) in std::iter::once((Who::Server, &self.state.server))
            .chain(self.state.agents.iter().enumerate().map(|(i, a)| (Who::Agent(i), a)))
        {
            if slot.child.is_some() && slot.ended.is_none() {
                self.meter.line(&format!("{who} did not end in time and is killed"));
            }
            self.watch.forget(who);
        }
        self.print_notes();
        let mut raw = self.state.raw;
        raw.end = end;
        raw.phase = ended_in;
        // Dropping a slot kills and reaps what is still there.
        drop((self.state.server, self.state.agents));
        self.error.map_or(Ok(raw), Err)
    }

    /// Waits without regard to what goes wrong meanwhile: that is only the end of what is being ended.
    fn settle_for(&mut self, bound: Duration, done: impl Fn(&State) -> bool) {
        let mut until = Instant::now() + bound;
        let mut hurried = false;
        while !done(&self.state) && Instant::now() < until {
            if !hurried && self.task.stop.load(Ordering::Relaxed) {
                hurried = true;
                until = until.min(Instant::now() + HURRY);
            }
            match self.inputs.recv_timeout(LOOK_INTERVAL.min(until.saturating_duration_since(Instant::now()))) {
                Ok(input) => drop(self.state.take(input, self.watch)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn wait(&mut self, what: &str, bound: Duration, done: impl Fn(&State) -> bool) -> Result<(), Halt> {
        let until = Instant::now() + bound;
        while !done(&self.state) {
            if Instant::now() >= until {
                return Err(Halt::Failed(format!("waited {} s in vain until {what}", bound.as_secs_f64())));
            }
            self.next(until)?;
        }
        Ok(())
    }

    /// A phase in which nothing but time passes, unless a person ends it early: then it says so in the record, since figures
    /// that follow are not what the definition asks for.
    fn pass_phase(&mut self, phase: Phase, length_s: f64) -> Result<(), Halt> {
        let length = Duration::from_secs_f64(length_s);
        self.phase_length = Some(length);
        self.enter(phase);
        let began = Instant::now();
        while began.elapsed() < length {
            if may_end(phase) && self.task.wishes.ends(self.turn) {
                let after_s = began.elapsed().as_secs_f64();
                let (point, repetition) = (self.task.point.index, self.task.repetition);
                let phase_name = phase.name().to_owned();
                self.state.raw.shortened.push(ShortenedRecord {
                    point,
                    repetition,
                    phase: phase_name,
                    after_s,
                    length_s,
                });
                let (title, name) = (self.task.title, phase.name());
                self.meter.line(&format!("{title}: {name} was ended by hand after {after_s:.1} of {length_s} s"));
                break;
            }
            self.next(began + length)?;
        }
        self.phase_length = None;
        Ok(())
    }

    /// Lets time pass, minding what happens meanwhile.
    fn pass(&mut self, time: Duration) -> Result<(), Halt> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.next(until)?;
        }
        Ok(())
    }

    /// Takes one input, or comes back soon.
    fn next(&mut self, until: Instant) -> Result<(), Halt> {
        if self.task.stop.load(Ordering::Relaxed) {
            let phase = self.state.raw.phase.name();
            let by = if self.task.wishes.quits() { "from the keyboard" } else { "by a signal to the harness" };
            return Err(Halt::Interrupted(format!("interrupted in {phase} {by}")));
        }
        let patience = until.saturating_duration_since(Instant::now()).min(LOOK_INTERVAL);
        match self.inputs.recv_timeout(patience) {
            Ok(input) => self.state.take(input, self.watch)?,
            // The controller holds a sender itself, so the channel never ends.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.state.lose_stalled(self.watch)?;
        self.print_notes();
        self.show();
        Ok(())
    }

    fn enter(&mut self, phase: Phase) {
        self.turn = self.task.wishes.begin();
        self.state.raw.phase = phase;
        self.watch.phase(phase);
        self.show();
    }

    fn show(&mut self) {
        let raw = &self.state.raw;
        if !self.meter.is_due(raw.phase) {
            return;
        }
        let complete = raw.agents.iter().map(|a| a.ledgers.len() as u32).min().unwrap_or(0);
        let counted_ns = raw.agents.iter().map(|a| a.stats.at_ns).max();
        let shown = Shown {
            title: self.task.title.to_owned(),
            phase: raw.phase,
            turn: self.turn,
            phase_length_s: self.phase_length.map(|length| length.as_secs_f64()),
            attempted: raw.sum(|a| a.attempted),
            joined: self.live(),
            lost: raw.sum(|a| a.failed + a.dropped),
            reconnecting: raw.sum(|a| a.reconnecting),
            target: self.task.point.clients,
            per_s: 0.0,
            counted_s: counted_ns.zip(raw.start_ns).and_then(|(at, start)| Some(at.checked_sub(start)? as f64 / 1e9)),
            server_rss_bytes: self.watch.server_rss_bytes(),
            broadcasts: (complete, raw.broadcasts.as_ref().map_or(0, |b| b.count)),
        };
        if let Some(live) = self.meter.live() {
            live.reached(reached(raw, &std::mem::take(&mut self.state.fresh)));
            let of_agents = raw.agents.iter().flat_map(|a| &a.stats.errors).map(|e| ("agents", e));
            let of_server = raw.server_stats.iter().flat_map(|s| &s.errors).map(|e| ("server", e));
            live.change(|view, _| view.failed(of_agents.chain(of_server)));
        }
        self.meter.update(shown);
    }

    fn print_notes(&mut self) {
        for note in std::mem::take(&mut self.state.notes) {
            self.meter.line(&note);
        }
    }

    fn live(&self) -> u64 {
        self.state.living().map(|i| self.state.raw.agents[i].stats.live).sum()
    }

    fn reading(&mut self) -> Result<Reading, Halt> {
        match self.watch.sample_now() {
            Ok(rows) => Ok(Reading::of(&rows, self.state.agents.len())),
            Err(error) => {
                let reason = format!("{error:#}");
                self.error = Some(error);
                Err(Halt::Failed(reason))
            }
        }
    }

    /// A child that can't be told is ending, which its reader reports.
    fn tell(&mut self, agent: usize, command: &AgentCommand) {
        if let Some(child) = &mut self.state.agents[agent].child {
            let _ = child.send(command);
        }
    }

    fn tell_all(&mut self, command: &AgentCommand) {
        for i in 0..self.state.agents.len() {
            self.tell(i, command);
        }
    }
}

/// Broadcasts of which an agent has given account lately, as far as the view can show them.
fn reached(raw: &Raw, fresh: &BTreeSet<u32>) -> Vec<Reached> {
    const LAST: usize = 8;
    let all = fresh.iter().rev().take(LAST);
    all.filter_map(|&sequence| ledger::reached(raw, sequence)).collect()
}

fn close(slot: &mut Slot) {
    if let Some(child) = &mut slot.child {
        child.close_stdin();
    }
}
