//! `c2m doctor`: what an experiment needs beside what this machine has, for people. Changes nothing on the host unless
//! `--apply` or `--undo` ask for it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use c2m_host::netns::Home;
use c2m_host::root::ProcRoot;
use c2m_schema::run::HostRecord;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::experiment::check::warnings;
use crate::experiment::load::{load, parse};
use crate::experiment::{Counts, Experiment};
use crate::ground::{self, Ground};
use crate::plan::ALL_IN_BYTES_PER_CLIENT;
use crate::preflight::{Have, PointChecks, Verdict, largest_that_fits, preflight, table};
use crate::text::{bytes, count};

pub mod apply;

/// `c2m doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment's definition; without one: the largest count of clients that fits this machine
    pub experiment: Option<PathBuf>,
    /// Override one key, as for run
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Read facts about the machine below this directory instead of /
    #[arg(long, value_name = "DIR")]
    pub proc_root: Option<PathBuf>,
    /// As root: raise the sysctls that are short, and say how to undo it. Without an experiment: as far as memory reaches
    #[arg(long)]
    pub apply: bool,
    /// Where --apply writes down how to undo it; must not exist [default: c2m-undo-<utc>.sh here]
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub undo_file: Option<PathBuf>,
    /// As root: put back what --apply changed, as FILE says
    #[arg(long, value_name = "FILE", conflicts_with_all = ["apply", "experiment", "overrides"])]
    pub undo: Option<PathBuf>,
}

/// Every point fits, or everything was put back; or not; or it is not allowed.
const FITS: u8 = 0;
const DOES_NOT_FIT: u8 = 1;
const NOT_ALLOWED: u8 = 2;

/// Prints the table. The status is 0 when every point fits and 1 when not, or when something could not be set; 2 when
/// setting is not allowed. Errors: the experiment can't be read.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let root = args.proc_root.as_deref().map_or_else(ProcRoot::default, ProcRoot::new);
    // Files below a made-up root are the caller's own.
    let allowed = args.proc_root.is_some() || rustix::process::geteuid().is_root();
    if let Some(file) = &args.undo {
        if !allowed {
            print(&format!("Putting settings back takes root: run this again as root, or `sh {}`\n", file.display()))?;
            return Ok(ExitCode::from(NOT_ALLOWED));
        }
        let outcome = apply::undo(file, &root)?;
        print(&outcome.text)?;
        return Ok(ExitCode::from(if outcome.complete { FITS } else { DOES_NOT_FIT }));
    }
    let experiment = match &args.experiment {
        Some(path) => load(path, &args.overrides)?,
        None => anything(&args.overrides)?,
    };
    if !args.apply {
        let (text, _, checks) = look(experiment, args)?;
        print(&text)?;
        return Ok(status(&checks, args.experiment.is_none()));
    }
    // Read before the run's namespace is entered, from where some of the host's settings are not to be seen.
    let before = apply::read(&root);
    let home = Home::remember().context("remember the network namespace of the host")?;
    let (text, ground, checks) = look(experiment, args)?;
    let returned = if ground.have.netns { home.go_back() } else { Ok(()) };
    let changes = apply::changes(&checks, &before, ground.have.netns);
    if changes.is_empty() {
        print(&format!("{text}nothing to set: no sysctl is short of what is needed\n"))?;
        return Ok(status(&checks, false));
    }
    if !allowed {
        let mut text = text + "Setting these takes root. Run this again as root, or as root:\n";
        for change in &changes {
            let _ = writeln!(text, "  {}", change.command());
        }
        print(&text)?;
        return Ok(ExitCode::from(NOT_ALLOWED));
    }
    returned.context("return to the network namespace of the host; nothing was changed")?;
    let undo_file = args.undo_file.clone().map_or_else(default_undo_file, Ok)?;
    let outcome = apply::apply(&changes, &root, &undo_file)?;
    print(&outcome.text)?;
    let (text, _, checks) = look(ground.experiment, args)?;
    print(&format!("\n{text}"))?;
    Ok(if outcome.complete { status(&checks, false) } else { ExitCode::from(DOES_NOT_FIT) })
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("print")
}

fn status(checks: &[PointChecks], only_asked: bool) -> ExitCode {
    let refused = checks.iter().any(|c| c.verdict() == Verdict::Refuse);
    ExitCode::from(if refused && !only_asked { DOES_NOT_FIT } else { FITS })
}

fn default_undo_file() -> anyhow::Result<PathBuf> {
    let utc = OffsetDateTime::now_utc().format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
    Ok(PathBuf::from(format!("c2m-undo-{utc}.sh")))
}

/// Looks at the machine: text for people, the ground it was read from, and the checks of every point.
fn look(experiment: Experiment, args: &Args) -> anyhow::Result<(String, Ground, Vec<PointChecks>)> {
    let ground = ground::prepare(experiment, args.proc_root.as_deref())?;
    let mut e = ground.experiment.clone();
    let mut text = machine(&ground.host, &ground);
    for note in warnings(&e).iter().chain(&ground.notes) {
        text += note;
        text.push('\n');
    }
    if args.experiment.is_none() {
        let largest = largest_that_fits(&e, &ground.have);
        let _ = writeln!(text, "largest count of clients that fits: {}", count(largest));
        let by_memory = ground.have.memory_available_bytes / ALL_IN_BYTES_PER_CLIENT;
        let counts = if args.apply { vec![by_memory.max(1)] } else { vec![largest.max(1), largest.max(1) * 2] };
        e.clients.counts = Counts::List(counts);
    }
    let checks = preflight(&e, &ground.have);
    text += &table(&checks, false);
    Ok((text, ground, checks))
}

/// Stands for any experiment with the defaults. A large count, so that a namespace gets tables for large points.
fn anything(overrides: &[String]) -> anyhow::Result<Experiment> {
    let text = "question = \"How many clients fit this machine?\"\n[clients]\ncounts = [1_000_000]\n";
    Ok(parse("defaults", "defaults", text, overrides)?)
}

fn machine(host: &HostRecord, ground: &Ground) -> String {
    let Have { nofile_soft, nofile_hard, cores, .. } = ground.have;
    let isolation = match &ground.isolation.fallback_reason {
        Some(reason) => format!("{}, because: {reason}", ground.isolation.mode),
        None => ground.isolation.mode.clone(),
    };
    format!(
        "machine: {}, {}, kernel {}\ncores: {} usable, {} allowed, {} of the host\nmemory: {}, limit {}, available {}\n\
         descriptors: soft {}, hard {}\nisolation: {isolation}\n",
        host.name,
        host.cpu_model,
        host.kernel,
        cores,
        host.cores_allowed,
        host.cores_host,
        bytes(host.memory_total_bytes),
        bytes(host.memory_limit_bytes),
        bytes(ground.have.memory_available_bytes),
        count(nofile_soft),
        count(nofile_hard),
    )
}
