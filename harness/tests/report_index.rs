//! The index of runs below a directory of results.

mod draw_support;

use std::fs;
use std::path::Path;
use std::process::Command;

use c2m_schema::rows::{PointRow, Status};
use c2m_schema::table;
use draw_support::Made;

/// A run in `root/experiment/name`, begun at `started`.
fn run(root: &Path, experiment: &str, name: &str, started: &str, status: Status) {
    let dir = root.join(experiment).join(name);
    fs::create_dir_all(&dir).unwrap();
    draw_support::write(&dir, &Made { counts: vec![1_000], repetitions: 1, broadcasts: 1, status, ..Made::default() });
    let record = draw_support::record();
    let label = Some(format!("<i>{name}</i>"));
    let (started_utc, experiment) = (started.to_owned(), experiment.to_owned());
    draw_support::write_record(&dir, &c2m_schema::run::RunRecord { started_utc, experiment, label, ..record });
}

fn c2m(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_c2m")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn runs_are_listed_newest_first_and_what_can_not_be_read_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    run(root.path(), "smoke", "20260101T000000Z-aaaa", "2026-01-01T00:00:00Z", Status::Ok);
    run(root.path(), "smoke", "20260301T000000Z-bbbb", "2026-03-01T00:00:00Z", Status::Failed);
    run(root.path(), "sweep", "20260201T000000Z-c?#", "2026-02-01T00:00:00Z", Status::Partial);
    run(root.path(), "sweep", "20260401T000000Z-dddd", "2026-04-01T00:00:00Z", Status::Ok);
    run(root.path(), "sweep", "20260402T000000Z-eeee", "2026-04-02T00:00:00Z", Status::Ok);
    fs::write(at("smoke/20260101T000000Z-aaaa/report.html"), "").unwrap();
    // What happens to directories of results: a table cut short, a record of another version, no run at all, other files.
    fs::write(at("sweep/20260401T000000Z-dddd/points.csv"), "schema,point\n1.0,x\n").unwrap();
    fs::write(at("sweep/20260402T000000Z-eeee/run.json"), "{\"schema\":\"9.0\"}").unwrap();
    fs::create_dir_all(at("sweep/<empty>")).unwrap();
    fs::create_dir_all(at("published")).unwrap();
    fs::create_dir_all(at(".git/hooks")).unwrap();
    fs::write(at("published/experiments.csv"), "system\n").unwrap();
    fs::write(at("sweep/notes.txt"), "no directory").unwrap();

    let (status, stdout, stderr) = c2m(&["report", "--index", &root.path().to_string_lossy()]);
    assert_eq!((status, stdout.trim(), stderr.as_str()), (0, &*at("index.html").to_string_lossy(), ""));
    let html = fs::read_to_string(at("index.html")).unwrap();
    let place = |needle: &str| html.find(needle).unwrap_or_else(|| panic!("{needle} is not on the page"));
    assert!(place("3 runs of 2 experiments") < place("<h2>smoke</h2>"));
    assert!(place("<h2>smoke</h2>") < place("<h2>sweep</h2>"), "the experiment with the newest run comes first");
    assert!(place("2026-03-01 00:00 UTC") < place("2026-01-01 00:00 UTC"));
    assert!(html.contains("href=\"./smoke/20260101T000000Z-aaaa/report.html\""));
    assert!(html.contains("href=\"./sweep/20260201T000000Z-c%3F%23/\""), "without a report the directory is linked");
    assert!(html.contains("0 of 1 measurements met what the experiment expects; 1 failed."));
    assert!(html.contains("1 partial."));
    assert!(html.contains("bench-1: Example CPU @ 2.10GHz, 2 cores, 25.2 GB, 6.18.5"));
    assert!(!html.contains("<i>") && html.contains("&lt;i&gt;2026"), "labels are escaped");
    assert!(html.contains("3 directories can't be read"));
    for reason in ["points.csv, line 2, column point: ", "run.json: schema 9.0 can't be read", "has no points.csv"] {
        assert!(place(reason) > place("id=\"unreadable\""), "{reason}");
    }
    assert!(html.contains("sweep/&lt;empty&gt;"));
    assert!(!html.contains("published") && !html.contains("hooks"));
    assert!(!html.contains(&*root.path().to_string_lossy()), "the page may lie anywhere");
}

#[test]
fn made_twice_it_is_the_same_and_an_empty_directory_has_an_empty_index() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_string_lossy().into_owned();
    assert_eq!(c2m(&["report", "--index", &path]).0, 0);
    assert!(fs::read_to_string(root.path().join("index.html")).unwrap().contains("0 runs of 0 experiments"));
    run(root.path(), "smoke", "20260101T000000Z-aaaa", "2026-01-01T00:00:00Z", Status::Ok);
    draw_support::put::<PointRow>(&root.path().join("smoke/20260101T000000Z-aaaa"), &[]);
    let made = || {
        assert_eq!(c2m(&["report", "--index", &path]).0, 0);
        fs::read_to_string(root.path().join("index.html")).unwrap()
    };
    let first = made();
    assert!(first.contains("The run ended before its first measurement."));
    assert_eq!(made(), first);
    assert!(table::read::<PointRow>(&root.path().join("smoke/20260101T000000Z-aaaa")).unwrap().is_empty());
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent").to_string_lossy().into_owned();
    let (status, stdout, stderr) = c2m(&["report", "--index", &absent]);
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains(&absent) && stderr.contains("Give the directory that holds the runs"), "{stderr}");
}
