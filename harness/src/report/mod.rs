//! `report.html` of a run directory: one file that holds everything, charts and font included, and needs no network. A
//! pure function of the files in the run directory.

mod facts;
mod floor;
mod hosts;
mod index;
mod latency;
mod page;
mod servers;
mod tables;
mod what;
mod words;

pub(crate) use tables::cpu_per_million;
pub(crate) use what::definition;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::draw::{self, Drawing};
use crate::rundir::RunDir;

/// File name of the report inside a run directory.
pub const FILE: &str = "report.html";

/// `c2m report`: makes the charts and the report of a run directory again, or the index of all runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run directories
    #[arg(required_unless_present = "index", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Make a page that lists all runs below a directory, newest first, with links to their reports
    #[arg(long, value_name = "RESULTS")]
    pub index: Option<PathBuf>,
}

/// Writes all charts into `plots/` and the report beside them, and gives the report's path.
///
/// A chart that can't be drawn says so in its place and on stderr. Fails when `dir` is not a run directory, when
/// `points.csv` or `run.json` can't be read, or when a file can't be written.
pub fn write(dir: &Path) -> anyhow::Result<PathBuf> {
    Ok(write_all(dir)?.0)
}

/// As [`write`], and whether a chart lacks its content because a table can't be read.
fn write_all(dir: &Path) -> anyhow::Result<(PathBuf, bool)> {
    let run = RunDir::load(dir)?;
    let drawings = draw::all(&run)?;
    let path = dir.join(FILE);
    let put = || {
        draw::save(&drawings, &dir.join(draw::PLOTS_DIR), draw::Format::ALL)?;
        std::fs::write(&path, render(&run, &drawings)).with_context(|| format!("writing {}", path.display()))
    };
    put().with_context(|| {
        format!(
            "{}: no charts and report (they go beside the tables: copy the directory to where you may write)",
            dir.display()
        )
    })?;
    let unreadable = draw::warn_unreadable(&run, &drawings);
    Ok((path, unreadable))
}

/// The report as HTML.
pub fn render(run: &RunDir, drawings: &[Drawing]) -> String {
    page::page(run, drawings).into_string()
}

/// Runs `c2m report`. Prints the path of each report. Exit code 1 when a chart is without content because a table can't
/// be read.
pub fn cli(args: Args) -> anyhow::Result<ExitCode> {
    let mut unreadable = false;
    for dir in args.dirs {
        let (path, broken) = write_all(&dir)?;
        unreadable |= broken;
        println!("{}", path.display());
    }
    if let Some(root) = args.index {
        println!("{}", index::write(&root)?.display());
    }
    Ok(ExitCode::from(u8::from(unreadable)))
}
