//! `c2m compare`: two or more runs side by side, the machines first, and a verdict only where one is sound.

mod hosts;
mod judge;
mod metrics;
mod print;

use std::path::PathBuf;
use std::process::ExitCode;

pub use hosts::{Difference, differences, of_machines};
pub(crate) use print::text;

pub use judge::{Comparison, Figure, Point, Verdict, compare, point_name};

use crate::rundir::RunDir;

/// Exit code: a figure is worse.
const EXIT_WORSE: u8 = 3;
/// Exit code: verdicts are lacking, because the machines differ, nothing matches or repetitions are too few.
const EXIT_NOT_COMPARABLE: u8 = 4;

/// `c2m compare`: sets runs beside the first one. Exit code 0: same or better; 3: worse; 4: not comparable.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run directories: the one to compare with, then the others.
    #[arg(required = true, num_args = 2.., value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// One row per figure, as CSV; the differences of the machines go to stderr.
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    pub csv: bool,
    /// Everything as JSON.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Tables in Markdown.
    #[arg(long)]
    pub markdown: bool,
}

/// Runs `c2m compare`. Fails when a directory is not a run directory or can't be read.
pub fn cli(args: Args) -> anyhow::Result<ExitCode> {
    let runs: Vec<RunDir> = args.dirs.into_iter().map(|dir| RunDir::load(&dir)).collect::<Result<_, _>>()?;
    let Some((first, others)) = runs.split_first() else { anyhow::bail!("give two run directories or more") };
    let comparisons: Vec<Comparison> = others.iter().map(|other| compare(first, other)).collect();
    let joined = |print: fn(&Comparison) -> String| comparisons.iter().map(print).collect::<Vec<_>>().join("\n");
    if args.csv {
        for c in &comparisons {
            eprint!("{}", print::differences(c));
        }
        print!("{}", print::csv(&comparisons)?);
    } else if args.json {
        println!("{}", serde_json::to_string_pretty(&comparisons)?);
    } else if args.markdown {
        print!("{}", joined(print::markdown));
    } else {
        print!("{}", joined(print::text));
    }
    Ok(ExitCode::from(exit_code(&comparisons)))
}

/// The worst of the comparisons.
pub fn exit_code(comparisons: &[Comparison]) -> u8 {
    if comparisons.iter().any(Comparison::is_worse) {
        EXIT_WORSE
    } else if comparisons.iter().any(Comparison::is_incomplete) {
        EXIT_NOT_COMPARABLE
    } else {
        0
    }
}
