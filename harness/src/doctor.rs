//! `c2m doctor`: what an experiment needs beside what this machine has, for people. Changes nothing on the host.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use c2m_schema::run::HostRecord;

use crate::experiment::check::warnings;
use crate::experiment::load::{load, parse};
use crate::experiment::{Counts, Experiment};
use crate::ground::{self, Ground};
use crate::preflight::{Have, Verdict, largest_that_fits, preflight, table};
use crate::text::{bytes, count};

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
}

/// Every point fits; or not.
const FITS: u8 = 0;
const DOES_NOT_FIT: u8 = 1;

/// Prints the table. The status is 0 when every point fits and 1 when not. Errors: the experiment can't be read.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let experiment = match &args.experiment {
        Some(path) => load(path, &args.overrides)?,
        None => anything(&args.overrides)?,
    };
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
        e.clients.counts = Counts::List(vec![largest.max(1), largest.max(1) * 2]);
    }
    let checks = preflight(&e, &ground.have);
    text += &table(&checks, false);
    std::io::stdout().write_all(text.as_bytes()).context("print the checks")?;
    let refused = checks.iter().any(|c| c.verdict() == Verdict::Refuse);
    Ok(ExitCode::from(if refused && args.experiment.is_some() { DOES_NOT_FIT } else { FITS }))
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
