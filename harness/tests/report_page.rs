//! The report of made-up run directories.

mod draw_support;

use c2m::rundir::RunDir;
use c2m::{draw, report};
use c2m_schema::rows::{ErrorRow, PointRow, Status};
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
    for needle in ["http://", "https://", "<script src", "<link", "src=\"", "@import", "url(\""] {
        assert!(!outside.contains(needle), "{needle}");
    }
    assert_eq!(html.matches("<script").count(), 1, "its own, which shows values on hover");
    assert!(html.contains("default-src 'none'"), "a browser is told to load nothing");
    assert_eq!(html.matches("<svg").count(), draw::charts::names().len());
    assert!(html.contains("prefers-color-scheme:dark){#users svg [fill="), "on dark paper the charts are dark");
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
    assert!(bad.contains("<td class=\"text\"><code>connect</code></td>"), "errors by kind");
}

/// Would end an attribute, an element, a script and a comment, and is no XML.
const HOSTILE: &str = "</title></script><script>alert(1)</script>\"'--><img src=x onerror=alert(1)>&\u{1}";

#[test]
fn everything_from_outside_is_escaped() {
    let (dir, html) = written(&Made { joined_per_mille: 700, status: Status::Failed, ..small() });
    assert!(!html.contains("<b>it's") && html.contains("&lt;b&gt;it"));
    assert!(!html.contains("<cost>") && html.contains("How many &amp; what &lt;cost&gt;?"));
    assert!(!html.contains("<address>"));

    let (own, tags) = (html.matches("<script").count(), html.matches("<img").count());
    let text = || HOSTILE.to_owned();
    let mut record = draw_support::record();
    (record.label, record.experiment, record.git, record.started_utc) = (Some(text()), text(), text(), text());
    (record.host.name, record.host.cpu_model, record.host.os, record.host.kernel) = (text(), text(), text(), text());
    record.host.sysctls.push((text(), text()));
    record.isolation.fallback_reason = Some(text());
    record.argv = vec![text()];
    draw_support::write_record(dir.path(), &record);
    let mut points: Vec<PointRow> = table::read(dir.path()).unwrap();
    for p in &mut points {
        (p.reason, p.variant, p.experiment) = (text(), text(), text());
    }
    draw_support::put(dir.path(), &points);
    let mut errors: Vec<ErrorRow> = table::read(dir.path()).unwrap();
    for e in &mut errors {
        (e.kind, e.side) = (text(), text());
    }
    draw_support::put(dir.path(), &errors);
    let plain = HOSTILE.replace(['\u{1}', '\''], "");
    let definition = format!("# {plain}\nquestion = '{plain}'\n");
    std::fs::write(dir.path().join("experiment.toml"), definition).unwrap();
    let html = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    assert_eq!(html.matches("<script").count(), own);
    assert_eq!(html.matches("<img").count(), tags);
    assert!(html.matches("&lt;img src=x onerror=alert(1)&gt;").count() > 15, "each of them is shown as it is");
}

#[test]
fn every_chart_shows_its_values_to_the_pointer() {
    let (_dir, html) = written(&small());
    for chart in html.split("<figure").skip(1) {
        let svg = &chart[..chart.find("</svg>").unwrap()];
        assert!(svg.contains("class=\"spots\"") && svg.contains("<circle"), "{}", &svg[..60]);
    }
    assert!(html.contains("<title>5,000 joined&#10;5,000 attempted, of 5,000&#10;"), "clients over time");
    assert!(html.contains(" reached in ") && html.contains(" cores busy&#10;") && html.contains(" per client&#10;"));
}

#[test]
fn a_stranger_reads_what_was_run_and_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), &small());
    let definition = "question = \"How many?\"\n[clients]\ncounts = [1000, 5000]\n[arrival]\nrate_per_s = 900\n\
                      [broadcast]\ncount = 3\n[measure]\nrepetitions = 2\n[expect]\njoined = \"all\"\nmissing = 0\n\
                      duplicate = 2\nlast_delivery_ms = 3000\n";
    std::fs::write(dir.path().join("experiment.toml"), definition).unwrap();
    let html = std::fs::read_to_string(report::write(dir.path()).unwrap()).unwrap();
    for sentence in [
        "ran on one machine with 2 cores and 25.2 GB of memory.",
        "In 2 steps, 1,000 to 5,000 clients each opened a WebSocket, 900 a second, and joined the same channel topic, \
         rooms:lobby.",
        "Then 3 messages of 64 bytes each were sent to all of them, and every client kept account of what it got.",
        "There were 4 measurements, each step 2 times, in ",
        "It expects: all clients joined, no delivery missing, at most 2 deliveries twice, a message at everyone within 3 s.",
    ] {
        assert!(html.contains(sentence), "{sentence}");
    }
}

#[test]
fn the_report_of_the_two_million_run_is_small_enough_to_send() {
    let runs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/sweep");
    let run = std::fs::read_dir(runs).unwrap().map(|e| e.unwrap().path()).find(|p| p.join("points.csv").is_file());
    let run = RunDir::load(&run.expect("a committed run of the sweep")).unwrap();
    let html = report::render(&run, &draw::all(&run).unwrap());
    assert!(html.len() < 5_000_000, "{}", html.len());
    for needle in ["2,000,000", "measurements met what the experiment expects", "\u{a0}×", "kept up"] {
        assert!(html.contains(needle), "{needle}");
    }
    assert!(html.contains("these are clients that left when it was over"), "ends without a loss are explained");
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
