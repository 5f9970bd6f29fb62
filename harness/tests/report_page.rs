//! The report of made-up run directories.

mod draw_support;

use c2m::report;
use c2m_schema::rows::{PointRow, Status};
use c2m_schema::table;
use draw_support::Made;

fn small() -> Made {
    Made { counts: vec![1_000, 5_000], repetitions: 2, broadcasts: 3, ..Made::default() }
}

fn written(made: &Made) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), made);
    let path = report::write(dir.path()).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    (dir, html)
}

#[test]
fn a_report_is_one_file_that_needs_no_network() {
    let (dir, html) = written(&small());
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    for needle in ["http://", "https://", "<script", "<link", "src=\"", "@import"] {
        assert!(!outside.contains(needle), "{needle}");
    }
    assert_eq!(html.matches("<svg").count(), 5);
    assert_eq!(html.matches("@font-face").count(), 2, "the font is in the page once, and not in each chart");
    assert!(!html.contains(&*dir.path().to_string_lossy()), "the page says where it was made");
}

#[test]
fn made_again_it_is_the_same_byte_for_byte() {
    let (dir, first) = written(&small());
    assert_eq!(std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap(), first);
    let (_elsewhere, second) = written(&small());
    assert!(first == second);
}

#[test]
fn the_verdict_comes_first_and_counts_what_was_missed() {
    let (_dir, good) = written(&small());
    assert!(good.contains("All 4 measurements met what the experiment expects."));
    assert!(good.find("measurements met").unwrap() < good.find("Machine").unwrap());
    let (_dir, bad) = written(&Made { joined_per_mille: 700, status: Status::Failed, ..small() });
    assert!(bad.contains("0 of 4 measurements met what the experiment expects; 4 failed."));
    assert!(bad.contains("connect: errno 99"), "the reason of a failed point");
    assert!(bad.contains("<td class=\"text\">connect</td>"), "errors by kind");
}

#[test]
fn everything_from_outside_is_escaped() {
    let (_dir, html) = written(&Made { joined_per_mille: 700, status: Status::Failed, ..small() });
    assert!(!html.contains("<b>it's") && html.contains("&lt;b&gt;it"));
    assert!(!html.contains("<cost>") && html.contains("How many &amp; what &lt;cost&gt;?"));
    assert!(!html.contains("<address>"));
}

#[test]
fn a_run_without_record_and_without_measurement_still_has_a_report() {
    let (dir, _) = written(&small());
    std::fs::remove_file(dir.path().join("run.json")).unwrap();
    std::fs::remove_file(dir.path().join("experiment.toml")).unwrap();
    draw_support::put::<PointRow>(dir.path(), &[]);
    let html = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    assert!(html.contains("The run ended before its first measurement."));
    assert!(html.contains("there is no run.json"));
}

#[test]
fn a_damaged_table_is_named_and_the_rest_of_the_report_is_there() {
    let (dir, _) = written(&small());
    std::fs::write(dir.path().join("broadcasts.csv"), "point,repetition\nx,0\n").unwrap();
    let html = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    assert!(html.contains("broadcasts.csv, line 2"));
    assert!(html.contains("All 4 measurements met"));
}

#[test]
fn another_major_schema_is_refused_by_name() {
    let (dir, _) = written(&small());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    rows[0].schema = "2.0".to_owned();
    draw_support::put(dir.path(), &rows);
    let message = report::write(dir.path()).unwrap_err().to_string();
    assert!(message.contains("points.csv") && message.contains("schema 2.0"), "{message}");
    rows[0].schema = "1.0".to_owned();
    draw_support::put(dir.path(), &rows);
    std::fs::write(dir.path().join("run.json"), "{\"schema\":\"2.3\"}").unwrap();
    let message = report::write(dir.path()).unwrap_err().to_string();
    assert!(message.contains("run.json") && message.contains("schema 2.3"), "{message}");
    std::fs::write(dir.path().join("run.json"), "{\n\"schema\": 1.0,\n!").unwrap();
    let message = report::write(dir.path()).unwrap_err().to_string();
    assert!(message.contains("run.json, line 3, column 1"), "{message}");
}
