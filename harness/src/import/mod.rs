//! `c2m import`: a scenario of Tsung, the load generator of the original experiment, as an experiment.
//!
//! What that scenario used is understood: arrival phases, client hosts with addresses, ports, one TCP server, one session
//! that connects a WebSocket, joins a channel, thinks, and perhaps sends heartbeats. Everything else is refused with its
//! name and line, or, where it changes no count, named in the head of the experiment. Pure, but for [`cli`].

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::experiment::load;

mod beats;
mod session;
mod setup;
mod write;
mod xml;

use session::Session;
use xml::Element;

/// `c2m import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenario, usually called tsung.xml
    pub scenario: PathBuf,
    /// Where the experiment is written; must not exist [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Something that has no counterpart or can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {what}; {remedy}")]
pub struct Refused {
    /// The scenario.
    pub file: String,
    /// Where in it, from 1.
    pub line: usize,
    /// Element, attribute, and what is wrong with them.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What has no counterpart and changes no count: lines and what is said of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Notes(Vec<(Vec<usize>, String)>);

impl Notes {
    fn add(&mut self, at: Element, what: impl fmt::Display) {
        let what = format!("<{}> {what}", xml::plain(at.name()));
        match self.0.iter_mut().find(|(_, known)| *known == what) {
            Some((lines, _)) => lines.push(at.line()),
            None => self.0.push((vec![at.line()], what)),
        }
    }
}

/// A client host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: String,
    sources: Vec<IpAddr>,
    line: usize,
    /// Users that it can have at once, where it may not start another virtual machine.
    most: Option<u64>,
}

/// An arrival phase.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Phase {
    users: u64,
    rate_per_s: f64,
    arriving_s: f64,
    /// From its last user to its end.
    pause_s: f64,
}

/// What is understood of a scenario.
#[derive(Clone, Debug, PartialEq)]
struct Scenario {
    hosts: Vec<Host>,
    /// Host and port.
    server: (String, u16),
    phases: Vec<Phase>,
    source_ports: Option<(u16, u16)>,
    connect_timeout_ms: Option<u64>,
    session: Session,
    notes: Notes,
}

impl Scenario {
    fn users(&self) -> u64 {
        self.phases.iter().fold(0, |sum, phase| sum.saturating_add(phase.users))
    }

    /// Until the last user has arrived.
    fn arrival_s(&self) -> f64 {
        let pause_s = self.phases.last().map_or(0.0, |phase| phase.pause_s);
        self.phases.iter().map(|phase| phase.arriving_s + phase.pause_s).sum::<f64>() - pause_s
    }
}

/// The experiment that a scenario asks for. `file` is how messages and the experiment call it.
pub fn import(file: &str, text: &str) -> Result<String, Refused> {
    let document = xml::parse(file, text)?;
    let root = Element::root(&document, file, "tsung", &["loglevel", "version", "dumptraffic", "backend"])?;
    let mut notes = Notes::default();
    let mut scenario = Scenario {
        hosts: Vec::new(),
        server: (String::new(), 0),
        phases: Vec::new(),
        source_ports: None,
        connect_timeout_ms: None,
        session: Session { topic: String::new(), serializer: "", heartbeat_s: 0.0, hold_s: 0.0 },
        notes: Notes::default(),
    };
    if root.attribute("dumptraffic").is_some_and(|dump| dump != "false") {
        notes.add(root, "dumptraffic: nothing is written down of each message");
    }
    let mut seen = Vec::new();
    for part in root.children()? {
        if seen.contains(&part.name()) {
            return Err(part.refuse("written twice", "write it once"));
        }
        seen.push(part.name());
        match part.name() {
            "clients" => setup::clients(part, &mut scenario, &mut notes)?,
            "servers" => setup::servers(part, &mut scenario)?,
            "load" => setup::load(part, &mut scenario)?,
            "options" => setup::options(part, &mut scenario, &mut notes)?,
            "sessions" => scenario.session = session::chosen(part, &mut notes)?,
            "monitoring" => {
                notes.add(part, "every host of a run is watched once a second, the server's process by itself");
            }
            "information" => notes.add(part, "it is for people"),
            _ => return Err(part.unknown()),
        }
    }
    if let Some(missing) = ["clients", "servers", "load", "sessions"].into_iter().find(|part| !seen.contains(part)) {
        return Err(root.refuse(format!("<{missing}> is missing"), "Tsung itself needs it"));
    }
    scenario.notes = notes;
    let experiment = write::experiment(file, &scenario);
    // What an experiment may say is known there; a scenario may say more.
    load::parse("the experiment", "imported", &experiment, &[]).map_err(|error| {
        root.refuse(format!("it asks for more than an experiment may: {error}"), "change that in the scenario")
    })?;
    Ok(experiment)
}

/// Writes the experiment. Errors: the scenario can't be read, something in it is refused, or the file is there already.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let text = read(&args.scenario)?;
    let name = args.scenario.file_name().unwrap_or(args.scenario.as_os_str()).to_string_lossy();
    let experiment =
        import(&name, &text).map_err(|refused| Refused { file: args.scenario.display().to_string(), ..refused })?;
    let Some(out) = &args.out else {
        std::io::stdout().write_all(experiment.as_bytes()).context("write to standard output")?;
        return Ok(ExitCode::SUCCESS);
    };
    let remedy = || format!("{}: can't be made; give --out a file that is not there yet", out.display());
    let mut file = std::fs::File::create_new(out).with_context(remedy)?;
    file.write_all(experiment.as_bytes()).with_context(|| format!("{}: can't be written", out.display()))?;
    eprintln!("{} is written; its head says what has no counterpart", out.display());
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let file = path.display();
    let mut bytes = Vec::new();
    let source = std::fs::File::open(path).with_context(|| format!("{file}: can't be read"))?;
    source.take(xml::BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("{file}: can't be read"))?;
    String::from_utf8(bytes).map_err(|error| {
        let upto = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..upto].split(|&byte| byte == b'\n').count();
        anyhow::anyhow!("{file}, line {line}: this is not UTF-8; save the scenario in it")
    })
}
