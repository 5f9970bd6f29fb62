//! The command line: one verb, one module.

use std::process::ExitCode;

use clap::{Command, CommandFactory as _, Parser, Subcommand};

mod help;

/// Measures how many WebSocket channel clients a server holds, what each costs, and what a message to all of them does.
#[derive(Debug, Parser)]
#[command(name = "c2m", version, after_help = help::C2M)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run an experiment; prints the run directory
    #[command(after_help = help::RUN)]
    Run(crate::run::Args),
    /// Run the definition of a run directory again, and compare the two
    #[command(after_help = help::RERUN)]
    Rerun(crate::rerun::Args),
    /// The far end on a host of a fleet; started by `run --hosts`
    #[command(hide = true)]
    Host(crate::fleet::far::Args),
    /// Say what an experiment needs beside what this machine has, and how to raise it
    #[command(after_help = help::DOCTOR)]
    Doctor(crate::doctor::Args),
    /// Measure what this machine can do at best with bare sockets
    #[command(after_help = help::FLOOR)]
    Floor(crate::floor::Args),
    /// Show a run directory in the live view again, at speed, or as a picture
    #[command(after_help = help::REPLAY)]
    Replay(crate::view::replay::Args),
    /// Write charts and report of a run directory again, or an index of all runs
    #[command(after_help = help::REPORT)]
    Report(crate::report::Args),
    /// Draw the charts of a run directory again
    #[command(after_help = help::PLOT)]
    Plot(crate::draw::Args),
    /// Compare run directories, or one with what others published
    #[command(after_help = help::COMPARE)]
    Compare(crate::compare::Args),
    /// Turn a scenario of the load generator Tsung into an experiment
    #[command(after_help = help::IMPORT)]
    Import(crate::import::Args),
}

/// The whole command line, for whoever documents it.
pub fn command() -> Command {
    Cli::command()
}

/// Exit status of what could not be run at all.
const COULD_NOT_RUN: u8 = 2;

/// Reads the command line and does what it says. Errors are printed; the status is 2 for them.
pub fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(args) => crate::run::cli(&args),
        Verb::Rerun(args) => crate::rerun::cli(&args),
        Verb::Host(args) => crate::fleet::far::cli(&args),
        Verb::Doctor(args) => crate::doctor::cli(&args),
        Verb::Floor(args) => crate::floor::cli(&args),
        Verb::Replay(args) => crate::view::replay::cli(&args),
        Verb::Report(args) => crate::report::cli(args),
        Verb::Plot(args) => crate::draw::cli(args),
        Verb::Compare(args) => crate::compare::cli(&args),
        Verb::Import(args) => crate::import::cli(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("c2m: {error:#}");
        ExitCode::from(COULD_NOT_RUN)
    })
}
