//! Searches with real processes: rows, record, report and exit status.
//!
//! The server and the agent are built by `make test` beside the harness.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use c2m_schema::rows::{PointRow, Status};
use c2m_schema::run::{RunRecord, SearchRecord};
use c2m_schema::table;

fn search(dir: &Path, text: &str) -> (Output, PathBuf) {
    let experiment = dir.join("limit.toml");
    std::fs::write(&experiment, text).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    command.arg("run").arg(&experiment).arg("--results").arg(dir.join("results"));
    let output = command.output().expect("c2m runs");
    let run = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    (output, PathBuf::from(run.trim_end()))
}

fn record(run: &Path) -> SearchRecord {
    let text = std::fs::read_to_string(run.join("run.json")).expect("run.json");
    serde_json::from_str::<RunRecord>(&text).expect("readable").search.expect("the record of a search")
}

/// Without heartbeats the server closes who has been idle for five seconds, so that a ramp of eight loses clients.
const LIMITED: &str = "question = \"?\"\n[server]\nidle_timeout_s = 5\n[clients]\nheartbeat_s = 0\n[arrival]\n\
                       rate_per_s = 20\n[broadcast]\ncount = 1\ninterval_ms = 100\ndeadline_ms = 2000\n[measure]\n\
                       settle_s = 0.1\n[search]\nkey = \"clients.counts\"\nlow = 20\nhigh = 160\nuntil = 1.0\n\
                       [expect]\njoined = \"all\"\ndropped = 0\n";

#[test]
fn a_search_finds_a_value_although_larger_ones_fail() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (output, run) = search(dir.path(), LIMITED);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    let record = record(&run);
    let found = record.found.expect("found");
    assert!(record.complete && record.not_met == Some(found * 2), "{record:?}");
    let rows: Vec<PointRow> = table::read(&run).expect("points.csv");
    assert_eq!(rows.len(), record.probes.len());
    for (row, probe) in rows.iter().zip(&record.probes) {
        assert_eq!((row.point, row.clients_target), (probe.point, probe.value));
        assert_eq!(row.variant, "", "the count of clients tells the probes apart");
        assert_eq!(row.status, if probe.met { Status::Ok } else { Status::Failed }, "{row:?}");
    }
    let answer =
        format!("Largest clients.counts that met what the experiment expects: {found}; {} did not.", found * 2);
    assert!(log.contains(&answer), "{log}");
    let why = format!("Why {} did not: ", found * 2);
    let report = std::fs::read_to_string(run.join("report.html")).expect("report");
    for part in [&answer, &why] {
        assert!(log.contains(part) && report.contains(part), "{part:?} is not in both\n{log}");
    }
}

#[test]
fn a_search_that_finds_nothing_says_so_and_does_not_succeed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let text =
        LIMITED.replace("dropped = 0", "server_bytes_per_client = 0.0").replace("rate_per_s = 20", "rate_per_s = 500");
    let (output, run) = search(dir.path(), &text);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let record = record(&run);
    assert_eq!((record.found, record.not_met, record.complete), (None, Some(20), true));
    assert_eq!(table::read::<PointRow>(&run).expect("points.csv").len(), 1);
}
