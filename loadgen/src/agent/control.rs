//! The `agent` verb: commands as JSON lines on stdin, events as JSON lines on stdout. A thread reads stdin; the main
//! thread owns the agent and writes. The end of stdin ends the agent in order.

use std::io::{BufRead, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use c2m_host::clock::monotonic_ns;
use c2m_host::root::ProcRoot;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentCommand, AgentEvent, AgentPlan, BroadcastPlan, write_line};

use super::{Agent, Prepared};

/// Between looks at the agent's counters.
const TICK: Duration = Duration::from_millis(50);
/// Longest command line in bytes; a plan with every source address of a large fleet is far below.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// How an agent ends otherwise than in order.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The other side broke the protocol.
    #[error("control protocol: {0}")]
    Protocol(String),
    /// The plan can't be done.
    #[error("{0}")]
    CannotRun(String),
    /// Nobody reads the events any more.
    #[error("writing an event: {0}")]
    Output(#[from] std::io::Error),
}

/// What the reading thread hands over.
type Line = Result<AgentCommand, String>;

/// Obeys commands from `input` until it ends or says stop; `root` is where the machine's settings are read. Errors: the
/// protocol is broken or the plan can't be done, which has then been said in a `failed` line.
pub fn run(input: impl BufRead + Send + 'static, mut output: impl Write, root: &ProcRoot) -> Result<(), ControlError> {
    write_line(
        &mut output,
        &AgentEvent::Hello {
            protocol: CONTROL_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        },
    )?;
    let (to, commands) = mpsc::channel();
    std::thread::Builder::new().name("commands".to_owned()).spawn(move || {
        for line in lines(input) {
            if to.send(line).is_err() {
                return;
            }
        }
    })?;
    let mut control = Control { output, root, agent: None, greeted: false, stage: Stage::Idle };
    let outcome = control.obey(&commands);
    if let Err(error @ (ControlError::Protocol(_) | ControlError::CannotRun(_))) = &outcome {
        let _ = write_line(&mut control.output, &AgentEvent::Failed { reason: error.to_string() });
    }
    if let Some(agent) = control.agent.take() {
        agent.close();
    }
    outcome
}

fn lines(mut input: impl BufRead) -> impl Iterator<Item = Line> {
    std::iter::from_fn(move || {
        loop {
            let mut line = String::new();
            // Reading fails where it ends: with the process that writes.
            match std::io::Read::take(&mut input, LINE_BYTES_MAX).read_line(&mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) if line.trim().is_empty() => {}
                Ok(_) => {
                    return Some(
                        serde_json::from_str(&line).map_err(|error| format!("{error} in {:.200}", line.trim())),
                    );
                }
            }
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Idle,
    Prepared,
    Started,
    Measuring,
}

struct Control<'a, W> {
    output: W,
    root: &'a ProcRoot,
    agent: Option<Agent>,
    greeted: bool,
    stage: Stage,
}

impl<W: Write> Control<'_, W> {
    fn obey(&mut self, commands: &Receiver<Line>) -> Result<(), ControlError> {
        let mut next_tick = Instant::now();
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match commands.recv_timeout(wait) {
                Ok(Ok(AgentCommand::Stop)) | Err(RecvTimeoutError::Disconnected) => {
                    self.stop();
                    return Ok(());
                }
                Ok(Ok(command)) => self.command(command)?,
                Ok(Err(error)) => return Err(ControlError::Protocol(error)),
                Err(RecvTimeoutError::Timeout) => {
                    next_tick = Instant::now() + TICK;
                    let events = self.agent.as_mut().map(Agent::tick).unwrap_or_default();
                    for event in events {
                        write_line(&mut self.output, &event)?;
                    }
                }
            }
        }
    }

    fn command(&mut self, command: AgentCommand) -> Result<(), ControlError> {
        let is_hello = matches!(command, AgentCommand::Hello { .. });
        if is_hello == self.greeted {
            let text = if is_hello { "a second hello" } else { "the first line must be hello" };
            return Err(ControlError::Protocol(text.to_owned()));
        }
        match command {
            AgentCommand::Hello { protocol: CONTROL_PROTOCOL } => self.greeted = true,
            AgentCommand::Hello { protocol } => {
                let text = format!("the harness speaks protocol {protocol}, this agent {CONTROL_PROTOCOL}");
                return Err(ControlError::Protocol(text));
            }
            AgentCommand::Prepare(plan) => {
                self.expect(Stage::Idle, "prepare")?;
                self.prepare(&plan)?;
            }
            AgentCommand::Probe => {
                self.expect(Stage::Prepared, "probe")?;
                if let Some(agent) = &self.agent {
                    agent.probe().map_err(|error| ControlError::CannotRun(format!("probe: {error}")))?;
                }
                write_line(&mut self.output, &AgentEvent::Probed)?;
            }
            AgentCommand::Start { start_ns } => {
                self.expect(Stage::Prepared, "start")?;
                self.agent.as_mut().into_iter().for_each(|agent| agent.start(start_ns));
                self.stage = Stage::Started;
            }
            AgentCommand::Measure(plan) => {
                self.expect(Stage::Started, "measure")?;
                check_broadcasts(&plan).map_err(ControlError::Protocol)?;
                self.agent.as_mut().into_iter().for_each(|agent| agent.measure(&plan));
                self.stage = Stage::Measuring;
            }
            // Taken by the caller.
            AgentCommand::Stop => {}
        }
        Ok(())
    }

    fn expect(&self, stage: Stage, command: &str) -> Result<(), ControlError> {
        if self.stage == stage {
            return Ok(());
        }
        Err(ControlError::Protocol(format!("{command} is not possible when {:?}", self.stage).to_lowercase()))
    }

    fn prepare(&mut self, plan: &AgentPlan) -> Result<(), ControlError> {
        let cannot = |error: &dyn std::fmt::Display| ControlError::CannotRun(format!("prepare: {error}"));
        let prepared = Prepared::new(plan, self.root).map_err(|error| cannot(&error))?;
        let agent = Agent::start_threads(plan, prepared).map_err(|error| cannot(&error))?;
        write_line(&mut self.output, &AgentEvent::Prepared(agent.prepared().clone()))?;
        (self.agent, self.stage) = (Some(agent), Stage::Prepared);
        Ok(())
    }

    /// Says what is known; the caller closes the clients after that.
    fn stop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let outcome = agent.freeze();
            // At the end of stdin there may be nobody to hear it.
            let _ = write_line(&mut self.output, &AgentEvent::Summary(outcome.summary));
        }
    }
}

/// Checks a plan of broadcasts. Errors: what is wrong with it.
pub(crate) fn check_broadcasts(plan: &BroadcastPlan) -> Result<(), String> {
    if plan.payload_bytes < BroadcastPlan::MIN_PAYLOAD_BYTES {
        return Err(format!("payload_bytes must be at least {}", BroadcastPlan::MIN_PAYLOAD_BYTES));
    }
    if plan.count > 1 && plan.interval_ns == 0 {
        return Err("interval_ns must be above 0".to_owned());
    }
    if plan.first_due_ns < monotonic_ns() {
        eprintln!("the first broadcast was due before it was announced; clients joined since then may not be expected");
    }
    Ok(())
}
