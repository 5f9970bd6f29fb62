//! What others published, as something to compare with: `results/published/*.csv`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use c2m_schema::rows::{PointRow, Status};

use crate::draw::published::{self, Published};
use crate::rundir::RunDir;

/// The runs that an operand of `compare` names: the one in a run directory, or, of a published table, one per system and
/// year. Fails when it is neither, or can't be read.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<RunDir>> {
    if path.extension().is_none_or(|extension| extension != "csv") {
        return Ok(vec![RunDir::load(path)?]);
    }
    let rows = published::read(path).with_context(|| format!("{}: no table of published results", path.display()))?;
    let mut runs: Vec<RunDir> = Vec::new();
    for row in rows {
        let name = PathBuf::from(format!("{}, {} {}", path.display(), row.system, row.year));
        let point = point(&row);
        match runs.iter_mut().find(|run| run.path == name) {
            Some(run) => run.points.push(PointRow { point: run.points.len() as u32, ..point }),
            None => runs.push(RunDir::of_points(name, vec![point])),
        }
    }
    Ok(runs)
}

/// Memory is that of the published machine; here it stands beside what both ends of every connection take.
fn point(row: &Published) -> PointRow {
    PointRow {
        status: Status::Ok,
        clients_target: row.clients,
        joined: Some(row.clients),
        arrival_per_s: row.arrival_per_s,
        last_delivery_max_ns: row.broadcast_ms_max.map(|ms| (ms * 1e6) as u64),
        all_in_bytes_per_client: row.used_memory_bytes.map(|bytes| bytes as f64 / row.clients.max(1) as f64),
        ..PointRow::default()
    }
}
