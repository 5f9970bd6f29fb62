//! `c2m compare`: two or more runs side by side, or the servers of one; the machines first, and a verdict only where one is
//! sound.

mod hosts;
mod judge;
mod metrics;
mod print;
mod published;
pub(crate) mod within;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use hosts::{Difference, differences, of_machines};
pub(crate) use print::text;

pub use judge::{Comparison, Figure, Point, Verdict, compare, point_name};

use crate::rundir::RunDir;

/// Exit code: a figure is worse.
const EXIT_WORSE: u8 = 3;
/// Exit code: verdicts are lacking, because the machines differ, nothing matches or repetitions are too few.
const EXIT_NOT_COMPARABLE: u8 = 4;

/// `c2m compare`: sets runs beside the first one, or the servers of one run beside its first. Exit code 0: same or better; 3: worse; 4: not comparable.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run directories, or tables of published results: the one to compare with, then the others. One run of several
    /// servers alone: its servers, with the first of them.
    #[arg(required = true, num_args = 1.., value_name = "DIR|CSV")]
    pub dirs: Vec<PathBuf>,
    /// Let a figure that is worse count (exit status 3) only when its median is worse by more than this
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent)]
    pub fail_above: f64,
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
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let runs: Vec<Vec<RunDir>> = args.dirs.iter().map(|path| published::load(path)).collect::<Result<_, _>>()?;
    let Some((first, others)) = runs.split_first() else { anyhow::bail!("give two run directories or more") };
    let comparisons = if others.is_empty() {
        within_one(first, &args.dirs[0])?
    } else {
        let pairs = first.iter().flat_map(|a| others.iter().flatten().map(move |b| (a, b)));
        let mut comparisons: Vec<Comparison> = pairs.map(|(a, b)| compare(a, b)).collect();
        // Of a published table, the systems of which nothing stands beside anything say nothing.
        if comparisons.iter().any(|c| !c.points.is_empty()) && comparisons.len() > others.len() {
            comparisons.retain(|c| !c.points.is_empty());
        }
        comparisons
    };
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
    Ok(ExitCode::from(exit_code(&comparisons, args.fail_above)))
}

/// The servers of one run. Fails when it has not several.
fn within_one(runs: &[RunDir], path: &Path) -> anyhow::Result<Vec<Comparison>> {
    let comparisons: Vec<Comparison> = runs.iter().flat_map(within::comparisons).collect();
    let path = path.display();
    anyhow::ensure!(
        !comparisons.is_empty(),
        "{path}: it has no servers to compare; give a second run directory as well"
    );
    Ok(comparisons)
}

/// A share from `10%` or `10`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let share = number.ok().filter(|percent| (0.0..=1e6).contains(percent)).map(|percent| percent / 100.0);
    share.ok_or_else(|| "a percentage such as 10%".to_owned())
}

/// The worst of the comparisons; what is worse counts when it is so by more than `tolerance`, a share.
pub fn exit_code(comparisons: &[Comparison], tolerance: f64) -> u8 {
    if comparisons.iter().any(|c| c.is_worse(tolerance)) {
        EXIT_WORSE
    } else if comparisons.iter().any(Comparison::is_incomplete) {
        EXIT_NOT_COMPARABLE
    } else {
        0
    }
}
