//! The program `c2m-loadgen`: verbs and exit statuses; the logic lives in the library.

use std::io::{self, BufReader, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use c2m_host::root::ProcRoot;
use c2m_loadgen::agent::control::{self, ControlError};
use c2m_loadgen::autobahn;
use c2m_loadgen::cli::{AutobahnArgs, Cli, RunArgs, Verb};
use c2m_loadgen::standalone;
use clap::Parser as _;

/// The run was made, and not everything went as it should.
const NOT_OK: u8 = 1;
/// There was no run.
const CANNOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Agent(args) => agent(&ProcRoot::new(args.proc_root)),
        Verb::Run(args) => run(&args),
        Verb::Autobahn(args) => autobahn(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("c2m-loadgen: {error:#}");
        ExitCode::from(CANNOT_RUN)
    })
}

fn agent(root: &ProcRoot) -> anyhow::Result<ExitCode> {
    match control::run(BufReader::new(io::stdin()), io::stdout().lock(), root) {
        // Nobody reads any more: the harness is dead, and everything has been closed.
        Ok(()) | Err(ControlError::Output(_)) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let summary = standalone::run(args)?;
    let text = if args.json { serde_json::to_string(&summary)? + "\n" } else { summary.to_string() };
    io::stdout().lock().write_all(text.as_bytes()).context("writing the summary")?;
    Ok(if summary.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(NOT_OK) })
}

fn autobahn(args: &AutobahnArgs) -> anyhow::Result<ExitCode> {
    let cases = autobahn::run(&args.server, &args.agent)?;
    writeln!(io::stdout(), "{cases} cases").context("writing the number of cases")?;
    Ok(ExitCode::SUCCESS)
}
