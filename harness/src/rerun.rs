//! `c2m rerun`: the definition of an earlier run, as it was run, once more, with its seed; then both beside each other.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::compare;
use crate::run;
use crate::rundir::{EXPERIMENT_FILE, RunDir};

/// `c2m rerun`: runs the definition of a run directory again and compares the two. Exit code: of the comparison, or of the
/// run when that could not begin.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The earlier run's directory
    pub dir: PathBuf,
    /// Where the new run directory is made
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Of a run of several hosts: the file that names them
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
    /// Run the points that fit this machine and mark the rest as skipped
    #[arg(long)]
    pub fit: bool,
    /// Put behind the run directory's name
    #[arg(long, value_name = "L", default_value = "rerun", value_parser = run::label)]
    pub label: String,
    /// Folder of the server and the load agent [default: `$C2M_BIN_DIR`, or beside this program]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

/// Runs `c2m rerun`. Errors: the directory holds no run, or the new one could not be begun or written.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let earlier = RunDir::load(&args.dir)?;
    let (status, dir) = run::run(&run::Args {
        experiment: Some(args.dir.join(EXPERIMENT_FILE)),
        overrides: Vec::new(),
        resume: None,
        fit: args.fit,
        label: Some(args.label.clone()),
        results: args.results.clone(),
        hosts: args.hosts.clone(),
        seed: earlier.record.as_ref().and_then(|record| record.seed),
        list: false,
        no_tui: false,
        bin_dir: args.bin_dir.clone(),
        proc_root: None,
    })?;
    let Some(dir) = dir else { return Ok(status) };
    let comparison = compare::compare(&earlier, &RunDir::load(&dir)?);
    print!("{}", compare::text(&comparison));
    Ok(ExitCode::from(compare::exit_code(&[comparison], 0.0)))
}
