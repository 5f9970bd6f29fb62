//! Runs of the real programs, for tests that look at what is left of them.

#![allow(dead_code, reason = "not every test that looks at live runs needs all of it")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use c2m_schema::rows::{PointRow, SampleRow, Status, Subject};
use c2m_schema::table;

/// Long enough for the slowest machine; nothing waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("temporary directory") }
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    pub(crate) fn experiment(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("write experiment");
        path
    }

    pub(crate) fn c2m(&self, experiment: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
        command.arg("run").arg(experiment).arg("--results").arg(self.results());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn only_run(&self) -> PathBuf {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "run directories: {runs:?}");
        runs.remove(0)
    }

    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let experiments = std::fs::read_dir(self.results()).into_iter().flatten().flatten();
        experiments
            .flat_map(|e| std::fs::read_dir(e.path()).expect("read results"))
            .map(|run| run.expect("entry").path())
            .collect()
    }
}

pub(crate) fn run_directory(output: &Output) -> PathBuf {
    let stdout = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 1, "stdout is the run directory and nothing else: {stdout:?}\n{}", errors(output));
    PathBuf::from(lines[0])
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// On every row of an agent the states add up (C23).
pub(crate) fn assert_states_add_up(samples: &[SampleRow]) {
    let agents: Vec<_> = samples.iter().filter(|s| s.subject == Subject::Agent && s.attempted.is_some()).collect();
    assert!(!agents.is_empty(), "agents were sampled");
    for s in agents {
        let parts = [s.pending, s.failed, s.live, s.dropped, s.reconnecting];
        assert_eq!(s.attempted, Some(parts.iter().map(|p| p.expect("measured")).sum()), "{s:?}");
    }
}

/// A run that is being killed: its processes, found by parent.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts a run that would hold its clients for longer than the test takes, and waits until clients are joined.
    pub(crate) fn start(bench: &Bench) -> Self {
        Self::of(bench, 200, &small(200, 1000, 2).replace("settle_s = 1", "settle_s = 60"))
    }

    /// Starts a run of `text` and waits until `clients` are joined.
    pub(crate) fn of(bench: &Bench, clients: u64, text: &str) -> Self {
        Self::command(bench, clients, bench.c2m(&bench.experiment("killed", text)))
    }

    /// Starts a run and waits until an agent has `clients` joined.
    pub(crate) fn command(bench: &Bench, clients: u64, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().expect("c2m starts");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let running = Self { child, lines };
        eventually("agents report joined clients", || {
            let dir = bench.runs().into_iter().next()?;
            let samples: Vec<SampleRow> = table::read(&dir).ok()?;
            samples.iter().any(|s| s.subject == Subject::Agent && s.live >= Some(clients)).then_some(())
        });
        running
    }

    pub(crate) fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(path).expect("children of the harness");
        text.split_whitespace().map(|pid| pid.parse().expect("pid")).collect()
    }

    pub(crate) fn child_named(&self, name: &str) -> u32 {
        let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == name);
        self.children().into_iter().find(named).unwrap_or_else(|| panic!("{name} runs"))
    }

    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("stderr") > 0 {
            log.push_str(&line);
            line.clear();
        }
        (self.child.wait().expect("wait"), log)
    }
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let done = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().expect("kill runs");
    assert!(done.success());
}

pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |s| s.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// What issue and user ask of every killed run: valid tables, a status with its reason, and nothing left behind.
pub(crate) fn assert_left_in_order(bench: &Bench, processes: &[u32]) -> PointRow {
    let dir = bench.only_run();
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    let [point] = points.as_slice() else { panic!("one row: {points:?}") };
    assert_ne!(point.status, Status::Ok);
    assert_ne!(point.reason, "");
    assert_states_add_up(&table::read(&dir).expect("samples.csv"));
    for &pid in processes {
        eventually("no orphan", || gone(pid).then_some(()));
    }
    point.clone()
}

/// A definition of one point in one room.
pub(crate) fn small(clients: u64, rate: u64, broadcasts: u32) -> String {
    format!(
        "question = \"does a small room work?\"\n[clients]\ncounts = [{clients}]\n[arrival]\nrate_per_s = {rate}\n\
         [broadcast]\ncount = {broadcasts}\ninterval_ms = 200\n[measure]\nsettle_s = 1\n\
         [expect]\njoined = \"all\"\nmissing = 0\nduplicate = 0\n"
    )
}
