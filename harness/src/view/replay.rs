//! `c2m replay`: the live view of a run that is over, from the tables of its directory; as a film or as a picture.
//!
//! The view is fed what it would have been fed: readings of the machine, counters, broadcasts as they were complete.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use c2m_schema::control::ErrorCount;
use c2m_schema::rows::{BroadcastRow, CoreRow, Phase, PointRow, SampleRow, Status, Subject};
use c2m_schema::run::RunRecord;
use c2m_schema::table;

use super::draw::Theme;
use super::picture;
use super::screen::{Controls, Live, possible};
use super::state::{Reached, Shown, View};
use super::words;
use crate::rundir::RunDir;

/// Between two steps of a film.
const STEP: Duration = Duration::from_millis(100);

/// `c2m replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run directory
    pub dir: PathBuf,
    /// Which point, by its number in `points.csv` [default: the last that was measured]
    #[arg(long, value_name = "N")]
    pub point: Option<u32>,
    /// Which repetition of it, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub repetition: u32,
    /// Seconds of the run per second
    #[arg(long, value_name = "X", default_value_t = 20.0, value_parser = speed)]
    pub speed: f64,
    /// Write one picture instead, by its ending an SVG or a PNG
    #[arg(long, value_name = "FILE", value_parser = picture_file)]
    pub picture: Option<PathBuf>,
    /// Moment of the picture, in seconds since the first arrival [default: the end of the last broadcast]
    #[arg(long, value_name = "SECONDS", requires = "picture")]
    pub at: Option<f64>,
    /// Columns and rows of the picture
    #[arg(long, value_name = "CxR", default_value = "118x34", value_parser = size)]
    pub size: (u16, u16),
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|x| (0.01..=100_000.0).contains(x));
    speed.ok_or_else(|| "use a number from 0.01 to 100000".into())
}

fn picture_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let known = path.extension().is_some_and(|e| e == "svg" || e == "png");
    if known { Ok(path) } else { Err("name a file that ends in .svg or .png".into()) }
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('x').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
    let in_range = |&(c, r): &(u16, u16)| (10..=400).contains(&c) && (3..=200).contains(&r);
    parsed.filter(in_range).ok_or_else(|| "use columns and rows, e.g. 80x24, at most 400x200".into())
}

/// Runs `c2m replay`. Errors: no run directory, no such repetition, or no terminal to show it on.
pub fn cli(args: &Args) -> anyhow::Result<ExitCode> {
    let film = Film::load(&args.dir, args.point, args.repetition)?;
    if let Some(file) = &args.picture {
        let view = film.at(args.at.map_or(film.peak_s, |at| film.first_arrival_s + at));
        let cells = picture::cells(&view, view.at_s.unwrap_or(0.0), Theme { color: true }, args.size);
        let svg = picture::svg(&cells, &format!("The live view of a run: {}, {}", view.experiment, view.now.title));
        let bytes = if file.extension().is_some_and(|e| e == "png") { picture::png(&svg)? } else { svg.into_bytes() };
        std::fs::write(file, bytes).with_context(|| format!("write {}", file.display()))?;
        println!("{}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    if !possible() {
        bail!("a film needs a terminal that can show it; --picture FILE writes a picture instead");
    }
    let controls = Controls::default();
    crate::run::signals::listen(controls.stop.clone())?;
    let live = Live::open(film.blank(), controls)?;
    let _closes = Closes(&live);
    film.play(&live, args.speed);
    Ok(ExitCode::SUCCESS)
}

struct Closes<'a>(&'a Live);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What happened at one moment.
#[derive(Clone, Debug)]
enum Event {
    Reading { rows: Vec<SampleRow>, cores: Vec<CoreRow>, shown: Box<Shown> },
    Reached(Reached),
    End { line: String, errors: Vec<(&'static str, ErrorCount)> },
}

/// One repetition, by the second.
#[derive(Clone, Debug)]
pub struct Film {
    experiment: String,
    /// Seconds since the begin of the run, in order.
    events: Vec<(f64, Event)>,
    /// When the last broadcast was complete, or the last client had come.
    peak_s: f64,
    first_arrival_s: f64,
    /// What was said before this repetition began.
    said: Vec<String>,
}

impl Film {
    /// Reads one repetition of the run in `dir`. Errors: no run, no such repetition, or nothing was sampled in it.
    pub fn load(dir: &Path, point: Option<u32>, repetition: u32) -> anyhow::Result<Self> {
        let run = RunDir::load(dir)?;
        let is_it = |p: &&PointRow| point.is_none_or(|n| p.point == n) && p.repetition == repetition;
        let measured = |p: &&PointRow| point.is_some() || p.status != Status::Skipped;
        let Some(row) = run.points.iter().rev().filter(is_it).find(measured) else {
            let known: Vec<String> = run.points.iter().map(|p| format!("{}/{}", p.point, p.repetition)).collect();
            bail!("{}: no such point and repetition; it has {}", dir.display(), known.join(", "));
        };
        let of = (row.point, row.repetition);
        let own = |of_row: (u32, u32)| of_row == of;
        let mut samples: Vec<SampleRow> = table::read(dir)?;
        samples.retain(|r| own((r.point, r.repetition)));
        let mut cores: Vec<CoreRow> = table::read(dir)?;
        cores.retain(|r| own((r.point, r.repetition)));
        let mut broadcasts = run.broadcasts()?;
        broadcasts.retain(|r| own((r.point, r.repetition)));
        let mut errors = run.errors()?;
        errors.retain(|r| own((r.point, r.repetition)));
        let Some(ended) = samples.last().map(|r| seconds(r.t_ns)) else {
            bail!("{}: nothing was sampled in point {}, repetition {}", dir.display(), of.0, of.1);
        };
        let title = title(&run, row);
        let mut events = broadcast_events(&broadcasts, ended);
        let peak_s = events.iter().map(|e| e.0).fold(f64::NAN, f64::max);
        events.extend(readings(row, &title, &samples, &cores, &broadcasts));
        events.sort_by(|a, b| a.0.total_cmp(&b.0));
        let side = |side: &str| if side == "server" { "server" } else { "agents" };
        let count = |e: &c2m_schema::rows::ErrorRow| ErrorCount { kind: e.kind.clone(), code: e.code, count: e.count };
        let errors = errors.iter().map(|e| (side(&e.side), count(e))).collect();
        events.push((ended, Event::End { line: crate::run::outcome(&title, row), errors }));
        let last_ramp = || samples.iter().rfind(|r| r.phase == Phase::Ramp).map_or(ended, |r| seconds(r.t_ns));
        Ok(Self {
            experiment: run.experiment().to_owned(),
            said: said(&run, of),
            peak_s: if peak_s.is_nan() { last_ramp() } else { peak_s },
            first_arrival_s: row.started_ns.map_or(events[0].0, seconds),
            events,
        })
    }

    fn blank(&self) -> View {
        let mut view = View::new(&self.experiment);
        view.replayed = true;
        view.at_s = self.events.first().map(|e| e.0);
        for line in &self.said {
            view.line(line, false);
        }
        view
    }

    /// The view at a moment, in seconds since the begin of the run.
    pub fn at(&self, until_s: f64) -> View {
        let mut view = self.blank();
        self.advance(&mut view, 0, until_s);
        view
    }

    /// Does what happened from event `next` on until a moment; gives the event after those.
    fn advance(&self, view: &mut View, next: usize, until_s: f64) -> usize {
        let due = self.events[next..].iter().take_while(|e| e.0 <= until_s);
        let mut done = 0;
        for (at, event) in due {
            done += 1;
            match event {
                Event::Reading { rows, cores, shown } => {
                    view.shown((**shown).clone(), *at);
                    view.sampled(rows, cores);
                }
                Event::Reached(reached) => {
                    view.now.broadcasts.0 += 1;
                    view.reached([reached.clone()]);
                }
                Event::End { line, errors } => {
                    view.failed(errors.iter().map(|(side, e)| (*side, e)));
                    view.line(line, false);
                }
            }
        }
        view.at_s = Some(until_s);
        next + done
    }

    /// Shows it until it is closed. At its end the view stays as it was.
    fn play(&self, live: &Live, speed: f64) {
        let (first, began) = (self.events[0].0, Instant::now());
        let last = self.events[self.events.len() - 1].0;
        let mut next = 0;
        while !live.controls().stop.load(Ordering::Relaxed) {
            let until = (first + began.elapsed().as_secs_f64() * speed).min(last);
            if !live.change(|view, _| next = self.advance(view, next, until)) {
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What the run is, and how earlier repetitions ended.
fn said(run: &RunDir, of: (u32, u32)) -> Vec<String> {
    let host = |record: &RunRecord| {
        let (host, begin) = (&record.host, &record.started_utc);
        let (cores, memory) = (host.cores_allowed, words::bytes(host.memory_total_bytes));
        format!("run of {begin}: {}, {cores} cores, {memory}, Linux {}", host.cpu_model.trim(), host.kernel)
    };
    let earlier = run.points.iter().filter(|p| (p.point, p.repetition) < of && p.status != Status::Skipped);
    let outcomes = earlier.map(|row| crate::run::outcome(&title(run, row), row));
    run.record.iter().map(host).chain(outcomes).collect()
}

fn title(run: &RunDir, row: &PointRow) -> String {
    let points = run.points.iter().map(|p| p.point).max().map_or(1, |last| last + 1);
    let repetitions = run.points.iter().filter(|p| p.point == row.point).count();
    let of_point = format!("point {}/{points}", row.point + 1);
    if repetitions > 1 { format!("{of_point}, repetition {}/{repetitions}", row.repetition + 1) } else { of_point }
}

fn broadcast_events(broadcasts: &[BroadcastRow], ended: f64) -> Vec<(f64, Event)> {
    let event = |b: &BroadcastRow| {
        let reached = Reached {
            sequence: b.sequence,
            expected: b.expected,
            received: b.received,
            p99_ns: b.latency_p99_ns,
            last_ns: b.last_ns.and_then(|last| last.checked_sub(b.due_ns)),
        };
        // What was never received by anybody is known when the repetition is over.
        (b.last_ns.map_or(ended, seconds), Event::Reached(reached))
    };
    broadcasts.iter().map(event).collect()
}

/// A reading begins with the row of the (first) host; the cores that were read with it have times before the next.
fn readings<'a>(
    row: &'a PointRow,
    title: &'a str,
    samples: &'a [SampleRow],
    cores: &'a [CoreRow],
    broadcasts: &'a [BroadcastRow],
) -> impl Iterator<Item = (f64, Event)> + 'a {
    let mut hosts = samples.iter().filter(|r| r.subject == Subject::Host);
    let first = hosts.next().map_or("", |r| r.name.as_str());
    let begins = |r: &SampleRow| r.subject == Subject::Host && r.name == first;
    let starts: Vec<usize> = (0..samples.len()).filter(|&i| begins(&samples[i])).collect();
    let mut rate = (0.0, 0, 0.0);
    (0..starts.len()).map(move |n| {
        let rows = &samples[starts[n]..starts.get(n + 1).copied().unwrap_or(samples.len())];
        let (from, to) = (rows[0].t_ns, starts.get(n + 1).map_or(u64::MAX, |&i| samples[i].t_ns));
        let own = cores.iter().filter(|c| (from..to).contains(&c.t_ns)).cloned().collect();
        let agents = || rows.iter().filter(|r| r.subject == Subject::Agent);
        let sum = |of: fn(&SampleRow) -> Option<u64>| agents().filter_map(of).sum::<u64>();
        let joined = sum(|r| r.live);
        let at = seconds(from);
        if at - rate.0 >= 0.9 {
            rate = (at, joined, joined.saturating_sub(rate.1) as f64 / (at - rate.0));
        }
        let counted_ns = agents().filter_map(|r| r.counters_ns).max();
        let complete = broadcasts.iter().filter(|b| b.last_ns.is_some_and(|last| last <= from)).count();
        let shown = Shown {
            title: title.to_owned(),
            phase: rows[0].phase,
            attempted: sum(|r| r.attempted),
            joined,
            lost: sum(|r| r.failed) + sum(|r| r.dropped),
            reconnecting: sum(|r| r.reconnecting),
            target: row.clients_target,
            per_s: rate.2,
            counted_s: counted_ns.zip(row.started_ns).and_then(|(at, start)| Some(seconds(at.checked_sub(start)?))),
            server_rss_bytes: rows.iter().find(|r| r.subject == Subject::Server).and_then(|r| r.rss_bytes),
            broadcasts: (complete as u32, broadcasts.len() as u32),
            ..Shown::default()
        };
        (at, Event::Reading { rows: rows.to_vec(), cores: own, shown: Box::new(shown) })
    })
}
