//! A run that an earlier build wrote, before columns were appended: this build must go on reading it.

use std::path::{Path, PathBuf};

use c2m::compare::{self, Verdict};
use c2m::rundir::RunDir;
use c2m_schema::rows::{Phase, Status, Subject};

/// Three repetitions of a million clients beside bare sockets, written by revision adba7e145.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/floor/20261125T141054Z-adba7e145")
}

#[test]
fn every_table_of_an_earlier_run_is_read() {
    let run = RunDir::load(&golden()).expect("a run directory");
    let record = run.record.as_ref().expect("run.json");
    assert_eq!((&*record.git, &*record.experiment), ("adba7e145", "floor"));
    let points: Vec<_> = run.points.iter().map(|p| (p.repetition, p.status, p.joined, p.deliveries_missing)).collect();
    assert_eq!(points, [0, 1, 2].map(|repetition| (repetition, Status::Ok, Some(1_000_000), Some(0))));
    assert!(run.points.iter().all(|p| p.reconnects.is_none()), "a column that came later is empty");
    let broadcasts = run.broadcasts().expect("broadcasts.csv");
    assert_eq!(broadcasts.len(), 9);
    assert!(broadcasts.iter().all(|b| (b.expected, b.received) == (1_000_000, 1_000_000)));
    let latency = run.latency().expect("latency.csv");
    let delivered: u64 = latency.iter().filter(|row| row.metric == "delivery").map(|row| row.count).sum();
    assert_eq!(delivered, 9_000_000);
    assert_eq!(run.floor().expect("floor.csv").len(), 3);
    run.errors().expect("errors.csv");
    let samples = run.samples().expect("samples.csv");
    assert!(samples.iter().any(|s| (s.phase, s.subject) == (Phase::Measure, Subject::Server)));
}

#[test]
fn an_earlier_run_against_itself_shows_no_difference() {
    let (a, b) = (RunDir::load(&golden()).expect("a run"), RunDir::load(&golden()).expect("a run"));
    let same = compare::compare(&a, &b);
    assert!(same.differences.is_empty() && same.left_out.is_empty(), "{same:?}");
    assert!(same.points.iter().flat_map(|p| &p.figures).all(|f| f.verdict == Verdict::Same), "{same:?}");
    assert_eq!(compare::exit_code(&[same], 0.0), 0);
}
