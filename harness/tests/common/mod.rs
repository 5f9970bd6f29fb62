//! A server and agents that follow a script in memory, and a watch that reads made-up memory.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use c2m::experiment::{Experiment, load};
use c2m::plan::points;
use c2m::run::bounds::Bounds;
use c2m::run::child::{Child, Input, Launch, ServerSpec, Watched, Who};
use c2m::run::controller::{Task, repetition};
use c2m::run::progress::Progress;
use c2m::run::raw::Raw;
use c2m::run::watch::Watch;
use c2m::run::wishes::Wishes;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{
    AgentCommand, AgentEvent, AgentPrepared, AgentStats, AgentSummary, BroadcastLedger, BroadcastPlan, Engine,
    FileTables, ServerEvent, ServerReady, ServerStats,
};
use c2m_schema::histogram::Recorder;
use c2m_schema::rows::{Phase, SampleRow, Subject};

/// What goes otherwise than well. Command names are those of the control lines.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) server_never_ready: bool,
    /// The server dies when any agent gets this command.
    pub(crate) server_dies_on: Option<&'static str>,
    /// This agent dies when it gets this command.
    pub(crate) agent_dies_on: Option<(usize, &'static str)>,
    /// The end is asked for when an agent gets this command.
    pub(crate) interrupt_on: Option<&'static str>,
    /// Agents never say `measured`.
    pub(crate) never_measured: bool,
    /// Phases that the person at the terminal wishes to end as soon as they begin.
    pub(crate) ends: Vec<Phase>,
    /// How many clients of each agent fail with an upgrade timeout.
    pub(crate) failing: u64,
}

#[derive(Default)]
pub(crate) struct World {
    script: Script,
    stop: Arc<AtomicBool>,
    server: Option<Sender<Input>>,
    /// Children that were started and not yet dropped.
    pub(crate) alive: BTreeSet<String>,
    pub(crate) commands: Vec<(usize, String)>,
}

type Shared = Rc<RefCell<World>>;

pub(crate) struct Cast(pub Shared);

struct Actor {
    who: Who,
    to: Sender<Input>,
    world: Shared,
    clients: u64,
    stats: AgentStats,
    ledgers: Vec<BroadcastLedger>,
    dead: bool,
}

impl Launch for Cast {
    fn server(&mut self, _: &ServerSpec, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        let actor = Actor::new(Who::Server, to, &self.0);
        let mut world = self.0.borrow_mut();
        world.server = Some(actor.to.clone());
        if !world.script.server_never_ready {
            actor.say(&ServerEvent::Ready(ServerReady {
                protocol: CONTROL_PROTOCOL,
                version: "0".into(),
                pid: 1,
                address: "127.0.0.1:9".into(),
                engine: Some(Engine::Shards),
                shards: 2,
                file_tables: FileTables::Shared,
                nofile: 1024,
                clients_max: 900,
                read_buffer_bytes: 0,
                idle_timeout_s: 60,
                max_message_bytes: 65_536,
                check_origin: false,
            }));
        }
        Ok(Box::new(actor))
    }

    fn agent(&mut self, index: usize, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        Ok(Box::new(Actor::new(Who::Agent(index), to, &self.0)))
    }
}

impl Actor {
    fn new(who: Who, to: Sender<Input>, world: &Shared) -> Self {
        world.borrow_mut().alive.insert(who.to_string());
        let world = Rc::clone(world);
        Self { who, to, world, clients: 0, stats: AgentStats::default(), ledgers: Vec::new(), dead: false }
    }

    fn say(&self, event: &impl serde::Serialize) {
        let line = serde_json::to_string(event).expect("serializes");
        self.to.send(Input::Line(self.who, line)).expect("controller listens");
    }

    fn exit(&mut self, how: &str) {
        if !std::mem::replace(&mut self.dead, true) {
            // After a repetition nobody listens.
            let _ = self.to.send(Input::Exited(self.who, how.into()));
        }
    }

    fn answer(&mut self, index: usize, command: &AgentCommand) {
        let script = self.world.borrow().script.clone();
        match command {
            AgentCommand::Hello { protocol } => {
                self.say(&AgentEvent::Hello { protocol: *protocol, version: "0".into(), pid: 2 });
            }
            AgentCommand::Prepare(plan) => {
                self.clients = plan.clients;
                self.say(&AgentEvent::Prepared(AgentPrepared {
                    workers: 2,
                    file_tables: FileTables::Shared,
                    nofile: 1024,
                    sources: 1,
                    source_ports: (1024, 65535),
                    capacity: 64_512,
                    warnings: Vec::new(),
                }));
            }
            AgentCommand::Probe => self.say(&AgentEvent::Probed),
            AgentCommand::Start { start_ns } => {
                let joined = self.clients - script.failing;
                self.stats = AgentStats {
                    at_ns: start_ns + 1_000_000_000,
                    attempted: self.clients,
                    tcp_connected: self.clients,
                    upgraded: joined,
                    joined,
                    live: joined,
                    failed: script.failing,
                    errors: (script.failing > 0)
                        .then(|| c2m_schema::control::ErrorCount {
                            kind: "upgrade_timeout".into(),
                            code: 0,
                            count: script.failing,
                        })
                        .into_iter()
                        .collect(),
                    ..AgentStats::default()
                };
                self.say(&AgentEvent::Stats(self.stats.clone()));
            }
            AgentCommand::Measure(plan) => self.measure(index, plan, script.never_measured),
            AgentCommand::Stop => self.say(&AgentEvent::Summary(self.summary())),
        }
    }

    fn measure(&mut self, index: usize, plan: &BroadcastPlan, never_measured: bool) {
        for sequence in 0..plan.count {
            let due_ns = plan.first_due_ns + u64::from(sequence) * plan.interval_ns;
            let mut from_due = Recorder::new();
            (0..self.stats.live).for_each(|_| from_due.record(2_000_000));
            let ledger = BroadcastLedger {
                sequence,
                due_ns,
                sent_ns: (index == 0).then_some(due_ns + 1_000),
                replied_ns: (index == 0).then_some(due_ns + 900_000),
                expected: self.stats.live,
                received: self.stats.live,
                duplicate: 0,
                out_of_order: 0,
                unexpected: 0,
                lost_by_drop: 0,
                lost_away: 0,
                sender_away: false,
                first_ns: Some(due_ns + 1_000_000 + index as u64),
                last_ns: Some(due_ns + 3_000_000 + index as u64),
                from_due: from_due.to_wire(),
                from_sent: from_due.to_wire(),
            };
            self.say(&AgentEvent::Broadcast(ledger.clone()));
            self.ledgers.push(ledger);
        }
        if !never_measured {
            self.say(&AgentEvent::Measured);
        }
    }

    fn summary(&self) -> AgentSummary {
        let mut recorder = Recorder::new();
        (0..self.stats.joined).for_each(|_| recorder.record(5_000_000));
        let latency = ["connect", "upgrade", "join", "arrival_lag"].map(|m| (m.to_owned(), recorder.to_wire()));
        AgentSummary {
            stats: self.stats.clone(),
            broadcasts: self.ledgers.clone(),
            latency: latency.into(),
            observed: 0,
            observed_mismatch: 0,
        }
    }
}

impl Child for Actor {
    fn watched(&self) -> Option<Watched> {
        Some(Watched::Process(match self.who {
            Who::Server => 1,
            Who::Agent(i) => 2 + i as u32,
        }))
    }

    fn send(&mut self, command: &AgentCommand) -> io::Result<()> {
        if self.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Who::Agent(index) = self.who else { panic!("servers get no commands") };
        let value = serde_json::to_value(command).expect("serializes");
        let name = value["type"].as_str().expect("tagged").to_owned();
        let script = self.world.borrow().script.clone();
        self.world.borrow_mut().commands.push((index, name.clone()));
        let is = |wanted: Option<&str>| wanted == Some(name.as_str());
        if is(script.interrupt_on) {
            self.world.borrow().stop.store(true, Ordering::Relaxed);
        }
        if is(script.server_dies_on)
            && let Some(server) = self.world.borrow_mut().server.take()
        {
            let _ = server.send(Input::Exited(Who::Server, "killed by signal 9; last of its log: boom".into()));
        }
        if script.agent_dies_on.is_some_and(|(i, on)| i == index && on == name) {
            self.exit("killed by signal 9");
        } else {
            self.answer(index, command);
        }
        Ok(())
    }

    fn close_stdin(&mut self) {
        if self.who == Who::Server && self.world.borrow().server.is_some() && !self.dead {
            self.say(&ServerEvent::Stats(ServerStats::default()));
            self.say(&ServerEvent::Drained { closed: 1, cut: 0 });
        }
        self.exit("exit status 0");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.world.borrow_mut().alive.remove(&self.who.to_string());
    }
}

/// Memory that grows with each reading; the phases it was told.
#[derive(Default)]
pub(crate) struct Scribe {
    pub(crate) phases: Vec<Phase>,
    processes: Vec<Who>,
    readings: u64,
    wishes: Rc<Wishes>,
    ends: Vec<Phase>,
    turn: u64,
}

impl Watch for Scribe {
    fn begin(&mut self, _: u32, _: u32) {}
    fn phase(&mut self, phase: Phase) {
        self.phases.push(phase);
        // Every phase has a turn, and each is told here once.
        self.turn += 1;
        if self.ends.contains(&phase) {
            self.wishes.end(self.turn);
        }
    }
    fn process(&mut self, who: Who, _: Watched) {
        self.processes.push(who);
    }
    fn forget(&mut self, who: Who) {
        self.processes.retain(|w| *w != who);
    }
    fn server_stats(&mut self, _: &ServerStats) {}
    fn agent_stats(&mut self, _: usize, _: &AgentStats) {}
    fn sample_now(&mut self) -> anyhow::Result<Vec<SampleRow>> {
        let n = self.readings;
        self.readings += 1;
        let process = |who: &Who| SampleRow {
            subject: if *who == Who::Server { Subject::Server } else { Subject::Agent },
            rss_bytes: Some(1_000_000 + n * 20_000),
            cpu_user_ns: Some(n * 1_000),
            cpu_system_ns: Some(n * 500),
            ..SampleRow::default()
        };
        let mut rows: Vec<SampleRow> = self.processes.iter().map(process).collect();
        rows.push(SampleRow {
            slab_socket_bytes: Some(n * 700_000),
            tcp_memory_bytes: Some(n * 80_000),
            ..SampleRow::default()
        });
        Ok(rows)
    }
    fn server_rss_bytes(&self) -> Option<u64> {
        None
    }
}

/// Waits that end at once when something they wait for does not come.
pub(crate) fn short() -> Bounds {
    let soon = std::time::Duration::from_millis(300);
    Bounds { ready: soon, answer: soon, ramp: soon, stall: soon, measured: soon, summary: soon, exit: soon }
}

pub(crate) const TEXT: &str = "question = \"?\"\n[clients]\ncounts = [100]\n[broadcast]\ncount = 3\ninterval_ms = 1\n\
                        deadline_ms = 10\n[measure]\nsettle_s = 0.01\n[expect]\njoined = \"all\"\nmissing = 0\n";

/// Plays one repetition of `text`; what it left behind, and the world after it.
pub(crate) fn play(text: &str, script: Script) -> (Experiment, Raw, Shared, Scribe) {
    let e = load::parse("play.toml", "play", text, &[]).expect("valid experiment");
    let stop = Arc::new(AtomicBool::new(false));
    let world = Rc::new(RefCell::new(World { script, stop: Arc::clone(&stop), ..World::default() }));
    let point = points(&e).remove(0);
    let places = c2m::run::split::places(&e, &point);
    let wishes = Rc::new(Wishes::default());
    let task = Task {
        experiment: &e,
        point: &point,
        repetition: 0,
        places: &places,
        seed: 0,
        title: "play",
        bounds: short(),
        stop: &stop,
        wishes: &wishes,
    };
    let mut scribe =
        Scribe { wishes: Rc::clone(&wishes), ends: world.borrow().script.ends.clone(), ..Scribe::default() };
    let raw = repetition(task, &mut Cast(Rc::clone(&world)), &mut scribe, &Progress::Silent).expect("harness is well");
    (e, raw, world, scribe)
}
