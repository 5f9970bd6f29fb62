//! The run directory as it is written: one new directory, tables that grow, `points.csv` replaced in one step.
//!
//! Owned by the thread that runs the points; the tables of samples belong to the sampling thread.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use c2m_schema::rows::{BroadcastRow, ErrorRow, FloorRow, LatencyRow, PointRow, Status};
use c2m_schema::run::{self, RunRecord};
use c2m_schema::table::{self, Row as _, Writer};

use crate::experiment::Experiment;
use crate::rundir::EXPERIMENT_FILE;
use crate::summary::Rows;

/// Directories of one second and revision that are tried before it is taken for a fault.
const SAME_SECOND_MAX: u32 = 1_000;

/// Creates `<results>/<experiment>/<stamp>`, or with `-2`, `-3`, … behind it when that is taken. Never touches what is
/// there.
pub fn create_directory(results: &Path, experiment: &str, stamp: &str) -> io::Result<PathBuf> {
    let parent = results.join(experiment);
    std::fs::create_dir_all(&parent)?;
    for n in 1..=SAME_SECOND_MAX {
        let name = if n == 1 { stamp.to_owned() } else { format!("{stamp}-{n}") };
        let path = parent.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{SAME_SECOND_MAX} runs named {stamp} already")))
}

/// Name of a run directory: UTC to the second, revision, label.
pub fn stamp(utc: &str, git: &str, label: Option<&str>) -> String {
    label.map_or_else(|| format!("{utc}-{git}"), |label| format!("{utc}-{git}-{label}"))
}

/// The files of one run, all but those of the sampling thread.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    points: Vec<PointRow>,
    broadcasts: Writer<BroadcastRow>,
    latency: Writer<LatencyRow>,
    errors: Writer<ErrorRow>,
    floor: Option<Writer<FloorRow>>,
    record: RunRecord,
}

impl Store {
    /// Writes the definition and the record into the new directory `dir`, and begins its tables.
    pub fn begin(dir: PathBuf, e: &Experiment, note: &str, record: RunRecord) -> anyhow::Result<Self> {
        let definition = toml::to_string(e).context("write the definition as TOML")?;
        let text = format!("{note}{definition}");
        std::fs::write(dir.join(EXPERIMENT_FILE), text).with_context(|| format!("write {EXPERIMENT_FILE}"))?;
        let mut store = Self {
            broadcasts: Writer::create(&dir)?,
            latency: Writer::create(&dir)?,
            errors: Writer::create(&dir)?,
            floor: e.floor.map(|_| Writer::create(&dir)).transpose()?,
            points: Vec::new(),
            dir,
            record,
        };
        store.write_record()?;
        store.write_points()?;
        Ok(store)
    }

    /// Goes on with the run in `dir`, of which `points` stay as they are; rows of anything else are taken out of its tables.
    pub fn resume(dir: PathBuf, e: &Experiment, points: Vec<PointRow>, record: RunRecord) -> anyhow::Result<Self> {
        let keeps = |repetition| points.iter().any(|row| row.of() == repetition);
        let mut store = Self {
            broadcasts: Writer::resume(&dir, keeps)?,
            latency: Writer::resume(&dir, keeps)?,
            errors: Writer::resume(&dir, keeps)?,
            floor: e.floor.map(|_| Writer::resume(&dir, keeps)).transpose()?,
            points,
            dir,
            record,
        };
        store.write_record()?;
        store.write_points()?;
        Ok(store)
    }

    /// Where the run is written.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the random numbers of the run are drawn from.
    pub fn seed(&self) -> u64 {
        self.record.seed.unwrap_or_default()
    }

    /// Rows of `points.csv` so far.
    pub fn points(&self) -> &[PointRow] {
        &self.points
    }

    /// Status of one repetition; none before it began.
    pub fn status(&self, point: u32, repetition: u32) -> Option<Status> {
        self.points.iter().find(|r| r.of() == (point, repetition)).map(|r| r.status)
    }

    /// Puts the row of a repetition, in place of an earlier one of the same repetition. Other files first, so that a row
    /// that says how a repetition ended never stands before its details.
    pub fn put(&mut self, row: PointRow) -> anyhow::Result<()> {
        match self.points.iter_mut().find(|r| r.of() == row.of()) {
            Some(place) => *place = row,
            None => self.points.push(row),
        }
        self.points.sort_by_key(table::Row::of);
        self.write_points()
    }

    /// Writes everything that is known of a repetition that ended.
    pub fn finish(&mut self, rows: Rows) -> anyhow::Result<()> {
        self.broadcasts.write_all(&rows.broadcasts).context("write broadcasts.csv")?;
        self.latency.write_all(&rows.latency).context("write latency.csv")?;
        self.errors.write_all(&rows.errors).context("write errors.csv")?;
        self.put(rows.point)
    }

    /// Writes what bare sockets did beside a repetition, in a run whose definition asks for it.
    pub fn floor(&mut self, row: &FloorRow) -> anyhow::Result<()> {
        self.floor.as_mut().map_or(Ok(()), |table| table.write(row)).context("write floor.csv")
    }

    /// Changes the record and writes it again.
    pub fn record(&mut self, change: impl FnOnce(&mut RunRecord)) -> anyhow::Result<()> {
        change(&mut self.record);
        self.write_record()
    }

    fn write_points(&mut self) -> anyhow::Result<()> {
        table::replace(&self.dir, &self.points).context("write points.csv")
    }

    fn write_record(&mut self) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.record).context("write the record as JSON")?;
        text.push(b'\n');
        let fresh = self.dir.join("run.json.new");
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, self.dir.join(run::FILE)))
            .context("write run.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C24: what is there is neither mixed with a new run nor touched.
    #[test]
    fn a_taken_name_gets_a_suffix_and_foreign_files_stay() {
        let results = tempfile::tempdir().unwrap();
        let name = stamp("20261125T041252Z", "9b975f9", Some("big"));
        assert_eq!(name, "20261125T041252Z-9b975f9-big");
        let foreign = results.path().join("smoke").join(&name);
        std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
        std::fs::write(&foreign, "mine").unwrap();
        let second = create_directory(results.path(), "smoke", &name).unwrap();
        let third = create_directory(results.path(), "smoke", &name).unwrap();
        assert!(second.ends_with(format!("{name}-2")) && third.ends_with(format!("{name}-3")), "{second:?} {third:?}");
        assert_eq!(std::fs::read_to_string(foreign).unwrap(), "mine");
    }
}
