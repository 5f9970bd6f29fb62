//! `c2m run`: from an experiment to a run directory.
//!
//! The calling thread is the controller. It enters the namespace before any other thread exists, starts the children
//! (whose end with it depends on that) and waits for them. Other threads: one that samples, two per child that read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use c2m_host::clock::{monotonic_ns, unix_ns};
use c2m_schema::rows::{FloorRow, Phase, PointRow, Status};
use c2m_schema::run::{ClockRecord, FleetRecord, RoleRecord, RunRecord, SearchRecord};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::compare;
use crate::experiment::{Experiment, Search, SearchKey, check};
use crate::floor::{self, Exchange, Question};
use crate::ground::{self, Ground};
use crate::plan::{Point, planned};
use crate::preflight::{self, PointChecks, Verdict};
use crate::rundir::RunDir;
use crate::search;
use crate::summary;
use crate::text::{bytes, count};

pub mod bounds;
pub mod child;
pub mod controller;
mod ends;
mod foreign;
pub mod machine;
pub mod process;
pub mod progress;
pub mod quiet;
pub mod raw;
mod resume;
pub mod sampling;
pub(crate) mod signals;
pub mod split;
mod state;
pub mod store;
pub mod watch;
pub mod wishes;

use bounds::Bounds;
use child::Who;
use controller::{Task, repetition};
use ends::Ends;
use progress::{Closes, Controls, Progress};
use raw::Raw;
use sampling::Sampling;
use store::Store;
use watch::Watch as _;

/// `c2m run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment's definition
    #[arg(required_unless_present = "resume")]
    pub experiment: Option<PathBuf>,
    /// Go on with the run in this directory: do the points that are missing, by its own definition
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiment", "overrides", "label", "results"])]
    pub resume: Option<PathBuf>,
    /// Run on the hosts that FILE names instead of this machine alone
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub hosts: Option<PathBuf>,
    /// Override one key, e.g. clients.counts=[100000] (repeatable; an empty value removes the key)
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Run the points that fit this machine and mark the rest as skipped
    #[arg(long)]
    pub fit: bool,
    /// Put behind the run directory's name
    #[arg(long, value_name = "L", value_parser = label)]
    pub label: Option<String>,
    /// Where run directories are made
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// What the load agents' random numbers are drawn from [default: the clock; `run.json` has it]
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub seed: Option<u64>,
    /// Print the plan and run nothing
    #[arg(long)]
    pub list: bool,
    /// Plain lines instead of the live view
    #[arg(long)]
    pub no_tui: bool,
    /// Folder of the server and the load agent [default: `$C2M_BIN_DIR`, or beside this program]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Read facts about the machine below this directory instead of /
    #[arg(long, value_name = "DIR")]
    pub proc_root: Option<PathBuf>,
}

pub(crate) fn label(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain { Ok(text.to_owned()) } else { Err("use letters, digits, `-`, `_` and `.`".into()) }
}

/// Exit status of a run that met its expectations, did not, or could not begin.
const MET: u8 = 0;
const NOT_MET: u8 = 1;
const COULD_NOT_RUN: u8 = 2;

/// Reason in the row of a repetition that is running; it stays there when the harness itself is killed.
const RUNNING: &str = "the run ended before this point did";

/// `c2m run`. Errors: the run could not be begun, or its directory could not be written.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    Ok(run(args)?.0)
}

/// Runs an experiment; gives the exit status and the run directory, if there is one.
pub(crate) fn run(args: &Args) -> anyhow::Result<(ExitCode, Option<PathBuf>)> {
    let (resumed, experiment) = match (&args.resume, &args.experiment) {
        (Some(dir), _) => {
            let (run, experiment) = resume::load(dir)?;
            (Some(run), experiment)
        }
        (None, Some(file)) => (None, crate::experiment::load::load(file, &args.overrides)?),
        (None, None) => anyhow::bail!("name an experiment, or a run to go on with (--resume DIR)"),
    };
    if args.list {
        let (experiment, _) = ground::resolved(experiment, args.proc_root.as_deref())?;
        write!(std::io::stdout(), "{}", crate::plan::list(&experiment)).context("print the plan")?;
        return Ok((ExitCode::from(MET), None));
    }
    let progress = Progress::plain();
    let (mut ground, ends) = Ends::reach(args, experiment, &progress)?;
    for note in check::warnings(&ground.experiment).iter().chain(&ground.notes) {
        progress.line(note);
    }
    if args.fit && !ends.is_fleet() {
        fit_search(&mut ground, &progress);
    }
    let checks = ends.preflight(&ground);
    let refused = checks.iter().filter(|c| c.verdict() == Verdict::Refuse).count();
    if checks.iter().any(|c| c.verdict() != Verdict::Fits) {
        progress.line(preflight::table(&checks, refused == 0 || args.fit).trim_end());
    }
    // A search can't skip one of its bounds.
    let searches = ground.experiment.search.is_some();
    if refused > 0 && (!args.fit || searches || refused == checks.len()) {
        progress.line(&advice(&ground, ends.is_fleet(), checks.len(), refused, args.fit));
        return Ok((ExitCode::from(COULD_NOT_RUN), None));
    }
    let controls = Controls::default();
    signals::listen(Arc::clone(&controls.stop))?;
    let now = OffsetDateTime::now_utc();
    let (store, lasted_ns) = match resumed {
        Some(run) => resume::open(run, &ground, rfc3339(now)?)?,
        None => (begin(args, &ground, ends.records(), now)?, 0),
    };
    if !args.no_tui {
        progress.open_view(&ground.experiment.name, controls.clone());
    }
    let _closes = Closes(progress.clone());
    let run = Run { ground, checks, store, ends, progress, controls };
    run.go(lasted_ns)
}

/// Small enough for every reader of JSON.
fn fresh_seed() -> u64 {
    unix_ns() & u64::from(u32::MAX)
}

/// What to do where points do not fit.
fn advice(ground: &Ground, is_fleet: bool, points: usize, refused: usize, fit: bool) -> String {
    if is_fleet {
        // The table above says which host is short of what.
        let some = if fit || refused == points { "" } else { ", or run those that do with --fit" };
        return format!("{refused} of {points} points do not fit these hosts: raise what is short{some}");
    }
    let fits = preflight::largest_that_fits(&ground.experiment, &ground.have);
    let smaller = match &ground.experiment.search {
        _ if fits == 0 => String::new(),
        Some(search) if search.key == SearchKey::ClientsCounts => {
            format!(", or search up to {}: --set search.high={fits}", count(fits))
        }
        _ => format!(", or hold at most {} clients: --set 'clients.counts=[{fits}]'", count(fits)),
    };
    let some = if fit || refused == points || ground.experiment.search.is_some() {
        ""
    } else {
        ", or run those that do with --fit"
    };
    let of = if points == 1 { "the only point does".to_owned() } else { format!("{refused} of {points} points do") };
    format!("{of} not fit this machine: raise what is short{smaller}{some}")
}

fn rfc3339(at: OffsetDateTime) -> anyhow::Result<String> {
    Ok(at.replace_nanosecond(0)?.format(&Rfc3339)?)
}

/// Lowers the upper bound of a search for clients to what fits this machine.
fn fit_search(ground: &mut Ground, progress: &Progress) {
    let Some(search) = ground.experiment.search else { return };
    let fits = preflight::largest_that_fits(&ground.experiment, &ground.have);
    if search.key == SearchKey::ClientsCounts && fits >= search.low && fits < search.high {
        progress.line(&format!("the search goes up to {} clients: more do not fit this machine", count(fits)));
        ground.experiment.search = Some(Search { high: fits, ..search });
    }
}

/// Makes the run directory.
fn begin(args: &Args, ground: &Ground, hosts: Vec<FleetRecord>, now: OffsetDateTime) -> anyhow::Result<Store> {
    let compact = now.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
    let git = env!("C2M_GIT");
    let name = store::stamp(&compact, git, args.label.as_deref());
    let dir = store::create_directory(&args.results, &ground.experiment.name, &name).with_context(|| {
        let results = args.results.display();
        format!("{results}: no run directory can be made there (name another place with --results DIR)")
    })?;
    let record = RunRecord {
        schema: c2m_schema::SCHEMA_VERSION.into(),
        c2m_version: env!("CARGO_PKG_VERSION").into(),
        git: git.into(),
        argv: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        label: args.label.clone(),
        experiment: ground.experiment.name.clone(),
        started_utc: rfc3339(now)?,
        isolation: ground.isolation.clone(),
        host: ground.host.clone(),
        roles: Vec::new(),
        search: None,
        resumed: Vec::new(),
        hosts,
        seed: Some(args.seed.unwrap_or_else(fresh_seed)),
        shortened: Vec::new(),
    };
    let chosen = if ground.auto { "# counts were chosen to fit the machine of the run\n" } else { "" };
    let note = format!(
        "# The definition as run, with every default and override. Run it again: c2m run <this file>\n{chosen}\n"
    );
    Store::begin(dir, &ground.experiment, &note, record)
}

struct Run {
    ground: Ground,
    checks: Vec<PointChecks>,
    store: Store,
    ends: Ends,
    progress: Progress,
    controls: Controls,
}

impl Run {
    /// Runs what there is to run, in a run that has lasted for so long already.
    fn go(mut self, lasted_ns: u64) -> anyhow::Result<(ExitCode, Option<PathBuf>)> {
        let begin_ns = monotonic_ns() - lasted_ns;
        let keeps = |(point, repetition)| self.store.status(point, repetition).is_some();
        let machine = self.ends.reader(&self.ground.host.name, begin_ns);
        let mut sampling = Sampling::start(self.store.dir(), begin_ns, machine, self.progress.clone(), keeps)?;
        let points = match self.ground.experiment.search {
            Some(search) => self.search(search, &mut sampling, begin_ns),
            None => self.points(&mut sampling, begin_ns),
        };
        let sampled = sampling.end();
        self.progress.clear();
        let found = points?;
        sampled?;
        for line in side_by_side(self.store.dir()) {
            self.progress.line(&line);
        }
        match crate::report::write(self.store.dir()) {
            Ok(path) => self.progress.line(&format!("report: {}", path.display())),
            Err(error) => self.progress.line(&format!("no report, the tables are complete: {error:#}")),
        }
        writeln!(std::io::stdout(), "{}", self.store.dir().display()).context("print the run directory")?;
        let met = |row: &PointRow| matches!(row.status, Status::Ok | Status::Skipped);
        let interrupted = self.controls.stop.load(Ordering::Relaxed);
        // Probes of a search may fail, as the search is for where they begin to.
        let met = found.unwrap_or_else(|| self.store.points().iter().all(met));
        let status = ExitCode::from(if met && !interrupted { MET } else { NOT_MET });
        Ok((status, Some(self.store.dir().to_owned())))
    }

    /// Runs the probes of a search; says whether a value was found.
    fn search(&mut self, search: Search, sampling: &mut Sampling, begin_ns: u64) -> anyhow::Result<Option<bool>> {
        let experiment = self.ground.experiment.clone();
        // Both closures need the run, one after the other.
        let this = std::cell::RefCell::new(self);
        let probe = |value: u64, index: u32| {
            let mut run = this.borrow_mut();
            run.progress.line(&format!("trying {}", search.key.value(value)));
            let (e, point) = search::probe(&experiment, &search, value, index);
            let mut met = true;
            for repetition in 0..e.measure.repetitions_of(point.clients) {
                if run.controls.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                run.one(&e, &point, repetition, None, sampling, begin_ns)?;
                match run.store.status(index, repetition) {
                    Some(Status::Ok) => {}
                    Some(Status::Interrupted) | None => return Ok(None),
                    Some(_) => met = false,
                }
                if !met {
                    break;
                }
            }
            anyhow::Ok(Some(met))
        };
        let seen = |record: &SearchRecord| this.borrow_mut().store.record(|r| r.search = Some(record.clone()));
        let record = search::largest(&search, probe, seen)?;
        let run = this.borrow();
        run.progress.line(&search::explained(&record, run.store.points()));
        Ok(Some(record.complete && record.found.is_some()))
    }

    /// Runs the points of the plan; whether they met what was expected is in their rows.
    fn points(&mut self, sampling: &mut Sampling, begin_ns: u64) -> anyhow::Result<Option<bool>> {
        let checks = std::mem::take(&mut self.checks);
        for ((experiment, point), of_point) in planned(&self.ground.experiment).iter().zip(&checks) {
            let refusal = of_point.refusal();
            for repetition in 0..experiment.measure.repetitions_of(point.clients) {
                if self.store.status(point.index, repetition).is_some() {
                    // Done before the run was taken up again.
                    continue;
                }
                if let Some(reason) = refusal.clone() {
                    let row = summary::blank(experiment, point, repetition);
                    self.store.put(PointRow { status: Status::Skipped, reason, ..row })?;
                    continue;
                }
                if self.controls.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                self.one(experiment, point, repetition, Some(checks.len()), sampling, begin_ns)?;
            }
        }
        Ok(None)
    }

    /// Runs one repetition between the row that says it runs and the rows that say how it went.
    fn one(
        &mut self,
        experiment: &Experiment,
        point: &Point,
        repetition_index: u32,
        points: Option<usize>,
        sampling: &mut Sampling,
        begin_ns: u64,
    ) -> anyhow::Result<()> {
        let running = summary::blank(experiment, point, repetition_index);
        self.store.put(PointRow { status: Status::Interrupted, reason: RUNNING.into(), ..running })?;
        let mut title = match points {
            Some(points) => format!("point {}/{points}", point.index + 1),
            None if point.variant.is_empty() => format!("probe {}", point.index + 1),
            None => format!("probe {}, {}", point.index + 1, point.variant),
        };
        let repetitions = experiment.measure.repetitions_of(point.clients);
        if repetitions > 1 {
            let _ = write!(title, ", repetition {}/{repetitions}", repetition_index + 1);
        }
        if let Some(floor) = experiment.floor {
            let question = floor::beside::question(experiment, point, floor.broadcasts);
            let exchange = Exchange::of(experiment, point.clients);
            self.floor((question, exchange), point.index, repetition_index, &title, sampling)?;
        }
        let places = self.ends.places(experiment, point);
        let task = Task {
            experiment,
            point,
            repetition: repetition_index,
            places: &places,
            seed: split::seed_of(self.store.seed(), point.index, repetition_index),
            title: &title,
            bounds: Bounds::of(experiment, point),
            stop: &self.controls.stop,
            wishes: &self.controls.wishes,
        };
        let launch = self.ends.launch();
        let raw = repetition(task, launch, sampling, &self.progress)?;
        let clocks = places.iter().zip(&raw.agents).enumerate().filter_map(|(i, (place, agent))| {
            let host = launch.host(Who::Agent(i))?.to_owned();
            let (offset_ns, error_ns) = (agent.clock.map(|c| c.ns), agent.clock.map(|c| c.error_ns));
            Some(ClockRecord { host, clients: place.clients, offset_ns, error_ns })
        });
        let clocks = clocks.collect();
        let rows = summary::rows(experiment, &raw, begin_ns);
        self.progress.line(&outcome(&title, &rows.point));
        self.store.record(|record| {
            record.roles.push(role(&raw, clocks));
            record.shortened.extend(raw.shortened.iter().cloned());
        })?;
        self.store.finish(rows)
    }
}

impl Run {
    /// Measures bare sockets and keeps the figures, or the reason why there are none.
    fn floor(
        &mut self,
        (question, exchange): (Question, Exchange),
        point: u32,
        repetition: u32,
        title: &str,
        sampling: &mut Sampling,
    ) -> anyhow::Result<()> {
        sampling.begin(point, repetition);
        sampling.phase(Phase::Floor);
        self.progress.floor(title, question.clients);
        self.progress.line(&format!("{title}: {} bare sockets, to hold it against", count(question.clients)));
        let row = match floor::beside::measure(question, exchange, &self.controls.stop) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.progress.line(&format!("{title}: no figures of bare sockets: {error:#}"));
                question.unanswered(format!("{error:#}"))
            }
        };
        self.store.floor(&FloorRow { point, repetition, ..row })
    }
}

fn role(raw: &Raw, clocks: Vec<ClockRecord>) -> RoleRecord {
    RoleRecord {
        point: raw.point.index,
        repetition: raw.repetition,
        server: raw.ready.clone(),
        agents: raw.agents.iter().filter_map(|a| a.prepared.clone()).collect(),
        clocks,
    }
}

/// The servers of a run of several, as lines for people.
fn side_by_side(dir: &Path) -> Vec<String> {
    // What can't be read is said where the report is written.
    let table = RunDir::load(dir).map(|run| compare::within::text(&run));
    table.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// One repetition's outcome as a line for people.
pub(crate) fn outcome(title: &str, row: &PointRow) -> String {
    let status = match row.status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::Partial => "partial",
        Status::Interrupted => "interrupted",
        Status::Skipped => "skipped",
    };
    let mut text = format!("{title}: {} clients {status}", count(row.clients_target));
    if !row.reason.is_empty() {
        let _ = write!(text, ": {}", row.reason);
    }
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, ", {what} {value}");
        }
    };
    let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
    let each = |b: f64| format!("{b:.0} B per client");
    add("joined", row.joined.map(count));
    add("arrivals", row.arrival_per_s.map(|r| format!("{} per second", count(r as u64))));
    add("server", row.server_user_bytes_per_client.map(each));
    add("agents", row.agent_user_bytes_per_client.map(each));
    add("all in", row.all_in_bytes_per_client.map(each));
    add("server resident", row.server_rss_bytes.map(bytes));
    add("delivery p99", row.delivery_p99_ns.map(ms));
    add("last delivery", row.last_delivery_max_ns.map(ms));
    add("missing", row.deliveries_missing.map(count));
    if row.loadgen_saturated == Some(true) {
        text += ", the load generator could not keep its schedule";
    }
    text
}
