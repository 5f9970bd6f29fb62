//! `c2m host`: the far end on a host of a fleet. It starts what the harness asks for, samples the machine, and ends with
//! the harness: at the end of its standard input, or when nothing has come from there for a while.
//!
//! One thread, beside those that read; it owns the children.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use c2m_host::clock::monotonic_ns;
use c2m_host::facts;
use c2m_host::root::ProcRoot;
use c2m_schema::control::write_line;

use super::wire::{Ask, Hello, PROTOCOL, Program, Say};
use crate::ground;
use crate::run::child::{Child, Input, Watched, Who};
use crate::run::machine::{Machine, Read as _};
use crate::run::process::{self, Binaries};
use crate::run::progress::Progress;

/// The harness asks something every second.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// What children are given to end in order when the harness has gone.
const END_MAX: Duration = Duration::from_secs(10);

/// `c2m host`: the far end of a fleet, started by the harness.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder of the server and the load agent [default: `$C2M_BIN_DIR`, or beside this program]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<std::path::PathBuf>,
}

enum Heard {
    Ask(Ask),
    /// Standard input ended, or what came was no line of this protocol.
    End(Option<String>),
    Child(u64, Input),
}

struct FarEnd {
    binaries: Binaries,
    machine: Machine,
    children: BTreeMap<u64, (Who, Box<dyn Child>)>,
    to: Sender<Heard>,
}

/// Serves the harness until it goes. Errors: the programs are missing, the harness can't be told, or said what is no line.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let root = ProcRoot::default();
    let record = facts::collect(&root);
    let (to, heard) = mpsc::channel();
    let mut far = FarEnd {
        binaries: Binaries::find(args.bin_dir.as_deref())?,
        machine: Machine::new(&record.name, 0),
        children: BTreeMap::new(),
        to: to.clone(),
    };
    say(&Say::Hello(Box::new(Hello {
        protocol: PROTOCOL,
        git: env!("C2M_GIT").into(),
        boot_id: root.read_sysctl("kernel.random.boot_id").unwrap_or_default(),
        have: ground::have(&root),
        record,
    })))?;
    std::thread::Builder::new().name("asks".into()).spawn(move || listen(&to))?;
    let served = far.serve(&heard);
    far.end(&heard);
    served.map(|()| ExitCode::SUCCESS)
}

fn listen(to: &Sender<Heard>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let heard = match serde_json::from_str(&line) {
            Ok(ask) => Heard::Ask(ask),
            Err(error) => Heard::End(Some(format!("the harness wrote what is no line of a fleet: {error}"))),
        };
        if to.send(heard).is_err() {
            return;
        }
    }
    // The other side may have ended first.
    let _ = to.send(Heard::End(None));
}

fn say(line: &Say) -> anyhow::Result<()> {
    write_line(&mut std::io::stdout().lock(), line).context("tell the harness")
}

impl FarEnd {
    fn serve(&mut self, heard: &Receiver<Heard>) -> anyhow::Result<()> {
        let mut asked = Instant::now();
        loop {
            match heard.recv_timeout(SILENCE_MAX.saturating_sub(asked.elapsed())) {
                Ok(Heard::Ask(ask)) => {
                    asked = Instant::now();
                    self.answer(ask)?;
                }
                Ok(Heard::End(None)) => return Ok(()),
                Ok(Heard::End(Some(reason))) => anyhow::bail!(reason),
                Ok(Heard::Child(child, input)) => self.pass_on(child, input)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("nothing came from the harness for {} s", SILENCE_MAX.as_secs())
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> anyhow::Result<()> {
        match ask {
            Ask::Start { child, program } => match self.start(child, &program) {
                Ok(process) => {
                    self.children.insert(child, (program.who(), process));
                }
                Err(error) => say(&Say::NotStarted { child, reason: format!("{error:#}") })?,
            },
            Ask::Tell { child, command } => {
                if let Some((_, process)) = self.children.get_mut(&child) {
                    // One that does not listen any more has ended, and that is told by itself.
                    let _ = process.send(&command);
                }
            }
            Ask::Close { child } => {
                if let Some((_, process)) = self.children.get_mut(&child) {
                    process.close_stdin();
                }
            }
            Ask::Kill { child } => drop(self.children.remove(&child)),
            Ask::Read { id } => {
                let watched = |(who, child): &(Who, Box<dyn Child>)| Some((*who, child.watched()?));
                let processes: Vec<(Who, Watched)> = self.children.values().filter_map(watched).collect();
                let (rows, cores) = self.machine.read(&processes);
                say(&Say::Rows { id, rows, cores })?;
            }
            Ask::Clock { asked_ns } => say(&Say::Clock { asked_ns, at_ns: monotonic_ns() })?,
        }
        Ok(())
    }

    fn start(&self, child: u64, program: &Program) -> anyhow::Result<Box<dyn Child>> {
        let (inputs, from_child) = mpsc::channel();
        let (who, log) = (program.who(), Progress::plain());
        let process = match program {
            Program::Server(spec) => process::start_server(&self.binaries, spec, inputs, &log)?,
            Program::Agent(index) => process::start_agent(&self.binaries, *index, inputs, &log)?,
        };
        let to = self.to.clone();
        std::thread::Builder::new().name(format!("{who} pipe")).spawn(move || {
            for input in from_child {
                // Ends with the far end.
                let _ = to.send(Heard::Child(child, input));
            }
        })?;
        Ok(process)
    }

    fn pass_on(&mut self, child: u64, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Line(_, line) => say(&Say::Line { child, line }),
            Input::Exited(_, how) => {
                self.children.remove(&child);
                say(&Say::Exited { child, how })
            }
        }
    }

    /// Lets the children end in order, and ends what does not.
    fn end(&mut self, heard: &Receiver<Heard>) {
        self.children.values_mut().for_each(|(_, process)| process.close_stdin());
        let until = Instant::now() + END_MAX;
        while !self.children.is_empty() {
            match heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Heard::Child(child, Input::Exited(..))) => drop(self.children.remove(&child)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.children.clear(),
            }
        }
    }
}
