//! `c2m run --resume DIR`: a run that was ended early goes on in its own directory. What is measured stays as it is, by its
//! own definition; what is missing or was cut off is done.

use std::path::Path;

use anyhow::bail;
use c2m_host::clock::monotonic_ns;
use c2m_schema::rows::{PointRow, SampleRow, Status};
use c2m_schema::run::{ResumeRecord, RunRecord};
use c2m_schema::table;

use super::store::Store;
use crate::compare;
use crate::experiment::{Experiment, load};
use crate::ground::Ground;
use crate::rundir::{EXPERIMENT_FILE, RunDir};

/// Between the last time of the run as it was and the first of what follows.
const GAP_NS: u64 = 1_000_000_000;

/// The run and its definition. Fails when the directory holds no run, or one that can't go on.
pub(super) fn load(dir: &Path) -> anyhow::Result<(RunDir, Experiment)> {
    let run = RunDir::load(dir)?;
    let file = dir.join(EXPERIMENT_FILE);
    if run.record.is_none() {
        bail!(
            "{}: there is no run.json, so it is unknown which machine the run is of; begin a new one: c2m run {}",
            dir.display(),
            file.display()
        );
    }
    let experiment = load::load(&file, &[])?;
    if run.record.as_ref().is_some_and(|record| !record.hosts.is_empty()) {
        bail!(
            "{}: a run of several hosts can't be taken up again; begin a new one: c2m run {} --hosts FILE",
            dir.display(),
            file.display()
        );
    }
    if experiment.search.is_some() {
        bail!("{}: a search can't be taken up again; begin a new one: c2m run {}", dir.display(), file.display());
    }
    Ok((run, experiment))
}

/// Opens the run directory to go on with it. Gives how long the run has lasted, in nanoseconds, a gap included. Fails on
/// another machine than the run's.
pub(super) fn open(run: RunDir, ground: &Ground, started_utc: String) -> anyhow::Result<(Store, u64)> {
    let RunDir { path, record, points, .. } = run;
    let mut record = record.unwrap_or_default();
    let here = RunRecord { host: ground.host.clone(), roles: record.roles.clone(), ..RunRecord::default() };
    if let Some(d) = compare::of_machines(&record, &here).into_iter().next() {
        bail!("{}: this is another machine than the run's: {} was {}, here it is {}", path.display(), d.what, d.a, d.b);
    }
    let done = |row: &PointRow| match row.status {
        Status::Ok | Status::Failed | Status::Partial => true,
        // What did not fit is looked at again.
        Status::Skipped | Status::Interrupted => false,
    };
    let kept: Vec<PointRow> = points.into_iter().filter(done).collect();
    let sampled = table::read::<SampleRow>(&path)?.into_iter().map(|row| row.t_ns).max();
    let ended = kept.iter().filter_map(|row| row.ended_ns).max();
    let t_ns = sampled.max(ended).unwrap_or(0) + GAP_NS;
    if let Some(short_ns) = t_ns.checked_sub(monotonic_ns()) {
        bail!(
            "this machine has been up for less time than the run had lasted; try again in {} s",
            short_ns / 1_000_000_000 + 1
        );
    }
    let argv = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let is_kept = |point, repetition| kept.iter().any(|row| (row.point, row.repetition) == (point, repetition));
    record.roles.retain(|role| is_kept(role.point, role.repetition));
    record.shortened.retain(|phase| is_kept(phase.point, phase.repetition));
    record.seed.get_or_insert_with(super::fresh_seed);
    record.resumed.push(ResumeRecord { started_utc, git: env!("C2M_GIT").into(), argv, t_ns });
    Ok((Store::resume(path, &ground.experiment, kept, record)?, t_ns))
}
