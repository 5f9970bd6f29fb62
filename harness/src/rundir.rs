//! Loading a run directory for everything that is derived from it.
//!
//! `run.json` and `points.csv` are read at once, since every view needs them; the large tables are read when a view asks
//! for them, so that one damaged table spoils only the views that need it. A loaded directory belongs to whoever loaded it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use c2m_schema::rows::{BroadcastRow, ErrorRow, FloorRow, LatencyRow, Phase, PointRow, Status, Subject};
use c2m_schema::run::{self, RunRecord};
use c2m_schema::table::{self, ReadError, Row};
use serde::{Deserialize, Serialize};

/// File name of the experiment's definition inside the run directory.
pub const EXPERIMENT_FILE: &str = "experiment.toml";

/// Why a run directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// There is no such directory.
    #[error("{}: no such directory. Give the path that `c2m run` printed, e.g. results/default/<run>", .0.display())]
    Absent(PathBuf),
    /// The directory holds no run.
    #[error(
        "{}: not a run directory, it has no points.csv. Give the path that `c2m run` printed, e.g. results/default/<run>{}",
        path.display(),
        inside.as_ref().map(|p| format!("; did you mean {}?", p.display())).unwrap_or_default()
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// A run directory inside it, the last by name; of a file the run directory that it is in.
        inside: Option<PathBuf>,
    },
    /// A table can't be read.
    #[error("{0}")]
    Table(#[from] ReadError),
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `run.json` is malformed.
    #[error("{}, line {line}, column {column}: {message}. Restore the file, or remove it to go on without the machine's facts", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// `run.json` is of another major schema version.
    #[error("{}: schema {found} can't be read by this build, which reads {}", path.display(), c2m_schema::SCHEMA_VERSION)]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version it says.
        found: String,
    },
}

/// The columns of `samples.csv` that charts over time need. A run of days has millions of rows, and a whole
/// [`c2m_schema::rows::SampleRow`] is four times as large.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// When it was read, nanoseconds since the run began.
    pub t_ns: u64,
    /// Phase at that moment.
    pub phase: Phase,
    /// What it is about.
    pub subject: Subject,
    /// Which of several: host name, or the index of the agent.
    pub name: String,
    /// CPU time of the process in user mode since its start, nanoseconds.
    pub cpu_user_ns: Option<u64>,
    /// CPU time of the process in kernel mode since its start, nanoseconds.
    pub cpu_system_ns: Option<u64>,
    /// Agent: clients whose connect was begun.
    pub attempted: Option<u64>,
    /// Server: memberships now.
    pub joined: Option<u64>,
    /// Agent: joined now.
    pub live: Option<u64>,
    /// When the counters were read by the process itself, nanoseconds since the run began.
    pub counters_ns: Option<u64>,
    /// Host that it was read on, where there are several.
    #[serde(default)]
    pub host: String,
}

impl Row for Sample {
    const FILE: &'static str = "samples.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}

/// The columns of `samples.csv` that say how the whole machine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSample {
    /// Index of the point in the plan.
    pub point: u32,
    /// Repetition.
    pub repetition: u32,
    /// When it was read, nanoseconds since the run began.
    pub t_ns: u64,
    /// Phase at that moment.
    pub phase: Phase,
    /// What it is about.
    pub subject: Subject,
    /// Host name.
    pub name: String,
    /// Threads of all processes.
    pub threads: Option<u64>,
    /// Memory.
    pub memory_total_bytes: Option<u64>,
    /// Total less available, as htop counts it.
    pub memory_used_bytes: Option<u64>,
    /// Swap.
    pub swap_total_bytes: Option<u64>,
    /// Swap in use.
    pub swap_used_bytes: Option<u64>,
    /// Load average over one minute.
    pub load_1m: Option<f64>,
    /// Load average over five minutes.
    pub load_5m: Option<f64>,
    /// Load average over fifteen minutes.
    pub load_15m: Option<f64>,
    /// Processes.
    pub tasks: Option<u64>,
    /// Runnable threads.
    pub tasks_running: Option<u64>,
    /// Seconds since boot.
    pub uptime_s: Option<u64>,
}

impl Row for HostSample {
    const FILE: &'static str = "samples.csv";
    fn of(&self) -> (u32, u32) {
        (self.point, self.repetition)
    }
}

/// A run directory.
#[derive(Debug)]
pub struct RunDir {
    /// Where it is.
    pub path: PathBuf,
    /// `run.json`; none when the file is not there, and then the machine is unknown.
    pub record: Option<RunRecord>,
    /// `points.csv`.
    pub points: Vec<PointRow>,
    /// `experiment.toml` as text; none when the file is not there.
    pub experiment_toml: Option<String>,
    samples: OnceLock<Result<Vec<Sample>, ReadError>>,
}

impl RunDir {
    /// Reads `run.json`, `points.csv` and `experiment.toml` of the run directory `path`.
    ///
    /// Fails when it is not a run directory, or one of the files is malformed or of another major schema version.
    pub fn load(path: &Path) -> Result<Self, RunDirError> {
        if !path.is_dir() {
            if path.exists() {
                let inside = path.parent().filter(|p| p.join(PointRow::FILE).is_file()).map(Path::to_owned);
                return Err(RunDirError::NotARun { path: path.to_owned(), inside });
            }
            return Err(RunDirError::Absent(path.to_owned()));
        }
        if !path.join(PointRow::FILE).is_file() {
            return Err(RunDirError::NotARun { path: path.to_owned(), inside: run_inside(path) });
        }
        Ok(Self {
            path: path.to_owned(),
            record: read_record(path)?,
            points: table::read::<PointRow>(path)?,
            experiment_toml: read_text(&path.join(EXPERIMENT_FILE))?,
            samples: OnceLock::new(),
        })
    }

    /// A run of which only its points are known: no machine, no definition, no details.
    pub fn of_points(path: PathBuf, points: Vec<PointRow>) -> Self {
        Self { path, record: None, points, experiment_toml: None, samples: OnceLock::new() }
    }

    /// `samples.csv`, the columns that charts over time need. Read once, since several charts need it and it is large. Of the
    /// hosts of a fleet themselves there is the server's alone; the agents of all of them are there.
    pub fn samples(&self) -> Result<&[Sample], &ReadError> {
        let read = || {
            let mut samples: Vec<Sample> = table::read(&self.path)?;
            if let Some(server) = self.record.as_ref().and_then(|record| record.hosts.first()) {
                samples.retain(|s| [Subject::Server, Subject::Agent].contains(&s.subject) || s.host == server.name);
            }
            Ok(samples)
        };
        self.samples.get_or_init(read).as_deref()
    }

    /// `samples.csv`, the rows of hosts alone.
    pub fn hosts(&self) -> Result<Vec<HostSample>, ReadError> {
        table::read_where(&self.path, |row: &HostSample| row.subject == Subject::Host)
    }

    /// `broadcasts.csv`.
    pub fn broadcasts(&self) -> Result<Vec<BroadcastRow>, ReadError> {
        table::read(&self.path)
    }

    /// `latency.csv`.
    pub fn latency(&self) -> Result<Vec<LatencyRow>, ReadError> {
        table::read(&self.path)
    }

    /// `errors.csv`.
    pub fn errors(&self) -> Result<Vec<ErrorRow>, ReadError> {
        table::read(&self.path)
    }

    /// `floor.csv`; none where the definition asked for no measurement of bare sockets.
    pub fn floor(&self) -> Result<Vec<FloorRow>, ReadError> {
        if self.path.join(FloorRow::FILE).exists() { table::read(&self.path) } else { Ok(Vec::new()) }
    }

    /// Name of the experiment: of the record, or of the first row.
    pub fn experiment(&self) -> &str {
        let of_record = self.record.as_ref().map(|r| r.experiment.as_str()).filter(|name| !name.is_empty());
        of_record.or_else(|| self.points.first().map(|p| p.experiment.as_str())).unwrap_or("unknown experiment")
    }

    /// The row of one repetition of one point.
    pub fn point(&self, point: u32, repetition: u32) -> Option<&PointRow> {
        self.points.iter().find(|p| (p.point, p.repetition) == (point, repetition))
    }
}

fn read_record(path: &Path) -> Result<Option<RunRecord>, RunDirError> {
    let file = path.join(run::FILE);
    let Some(text) = read_text(&file)? else { return Ok(None) };
    let malformed = |e: serde_json::Error| RunDirError::Record {
        path: file.clone(),
        line: e.line(),
        column: e.column(),
        message: e.to_string(),
    };
    // The version is looked at first: a record of another major may well lack fields of this one.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
    if let Some(found) = value.get("schema").and_then(serde_json::Value::as_str)
        && !c2m_schema::is_readable(found)
    {
        return Err(RunDirError::Schema { path: file, found: found.to_owned() });
    }
    serde_json::from_str(&text).map(Some).map_err(malformed)
}

fn read_text(path: &Path) -> Result<Option<String>, RunDirError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunDirError::Io { path: path.to_owned(), source }),
    }
}

/// The last run directory, by name, directly in `path` or one level below.
fn run_inside(path: &Path) -> Option<PathBuf> {
    let children = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
    };
    let mut runs: Vec<PathBuf> = children(path);
    runs.extend(children(path).iter().flat_map(|p| children(p)));
    runs.retain(|p| p.join(PointRow::FILE).is_file());
    runs.into_iter().max()
}

/// The word for a status, as in `points.csv`.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Partial => "partial",
        Status::Interrupted => "interrupted",
        Status::Skipped => "skipped",
    }
}
