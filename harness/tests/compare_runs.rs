//! Comparison of made-up runs: verdicts only where they are sound.

mod draw_support;

use std::process::Command;

use c2m::compare::{self, Comparison, Figure, Verdict};
use c2m::rundir::RunDir;
use c2m_schema::rows::{PointRow, Status};
use c2m_schema::run::RunRecord;
use c2m_schema::table;
use draw_support::Made;

fn small() -> Made {
    Made { counts: vec![1_000, 5_000], repetitions: 3, broadcasts: 3, ..Made::default() }
}

fn run(made: &Made, record: &RunRecord) -> (tempfile::TempDir, RunDir) {
    let dir = tempfile::tempdir().unwrap();
    draw_support::write(dir.path(), made);
    draw_support::write_record(dir.path(), record);
    let run = RunDir::load(dir.path()).unwrap();
    (dir, run)
}

fn against(a: &Made, b: &Made) -> Comparison {
    let record = draw_support::record();
    let ((_a, a), (_b, b)) = (run(a, &record), run(b, &record));
    compare::compare(&a, &b)
}

fn figure<'a>(comparison: &'a Comparison, metric: &str) -> &'a Figure {
    comparison.points[0].figures.iter().find(|f| f.metric == metric).unwrap()
}

fn code(comparison: &Comparison) -> u8 {
    compare::exit_code(std::slice::from_ref(comparison), 0.0)
}

#[test]
fn a_run_against_itself_shows_no_difference() {
    for repetitions in [1, 3] {
        let same = against(&Made { repetitions, ..small() }, &Made { repetitions, ..small() });
        assert!(same.differences.is_empty() && same.left_out.is_empty(), "{same:?}");
        assert!(same.points.iter().flat_map(|p| &p.figures).all(|f| f.verdict == Verdict::Same), "{same:?}");
        assert_eq!(code(&same), 0);
    }
}

#[test]
fn worse_and_better_follow_the_direction_of_the_figure() {
    let slower = Made { cost_percent: 130, ..small() };
    let worse = against(&small(), &slower);
    assert_eq!(figure(&worse, "delivery_p99_ns").verdict, Verdict::Worse);
    assert_eq!(figure(&worse, "kernel_bytes_per_client").verdict, Verdict::Worse);
    assert_eq!(figure(&worse, "joined").verdict, Verdict::Same);
    assert_eq!(code(&worse), 3);
    let better = against(&slower, &small());
    assert_eq!(figure(&better, "delivery_p99_ns").verdict, Verdict::Better);
    assert_eq!(code(&better), 0);
    let fewer = against(&small(), &Made { joined_per_mille: 900, ..small() });
    assert_eq!(figure(&fewer, "joined").verdict, Verdict::Worse, "fewer clients are worse");
}

#[test]
fn ranges_that_are_near_and_single_repetitions_are_no_difference() {
    // Repetitions differ by up to two per cent here, so one per cent more overlaps.
    let near = against(&small(), &Made { cost_percent: 101, ..small() });
    assert_eq!(figure(&near, "kernel_bytes_per_client").verdict, Verdict::Same);
    assert_eq!(code(&near), 0);
    // Three per cent more and they don't overlap, but are no further apart than they are wide.
    let beside = against(&small(), &Made { cost_percent: 103, ..small() });
    assert_eq!(figure(&beside, "kernel_bytes_per_client").verdict, Verdict::Same);
    let single = Made { repetitions: 1, ..small() };
    let once = against(&single, &Made { cost_percent: 130, ..single.clone() });
    assert_eq!(figure(&once, "kernel_bytes_per_client").verdict, Verdict::NotComparable);
    assert_eq!(code(&once), 4);
}

/// C26: comparing runs from different machines.
#[test]
fn another_machine_gets_no_verdict_and_another_setting_a_warning() {
    type Edit = fn(&mut RunRecord);
    let hard: [(&str, Edit); 5] = [
        ("CPU model", |r| r.host.cpu_model = "Other CPU".to_owned()),
        ("cores", |r| r.host.cores_host = 4),
        ("memory", |r| r.host.memory_total_bytes *= 2),
        ("kernel major", |r| r.host.kernel = "5.15.0".to_owned()),
        ("CPU model", |r| r.host.cpu_model = String::new()),
    ];
    let base = draw_support::record();
    let (_a, a) = run(&small(), &base);
    for (what, edit) in hard {
        let mut record = base.clone();
        edit(&mut record);
        let (_b, b) = run(&small(), &record);
        let comparison = compare::compare(&a, &b);
        let difference = comparison.differences.iter().find(|d| d.what == what).unwrap();
        assert!(difference.forbids_verdict, "{what}");
        assert!(
            comparison.points.iter().flat_map(|p| &p.figures).all(|f| f.verdict == Verdict::NotComparable),
            "{what}"
        );
        assert_eq!(code(&comparison), 4, "{what}");
    }
    let soft: [(&str, Edit); 3] = [
        ("net.core.somaxconn", |r| r.host.sysctls[0].1 = "128".to_owned()),
        ("descriptors, soft", |r| r.host.nofile_soft = 1024),
        ("kernel", |r| r.host.kernel = "6.1.0".to_owned()),
    ];
    for (what, edit) in soft {
        let mut record = base.clone();
        edit(&mut record);
        let (_b, b) = run(&small(), &record);
        let comparison = compare::compare(&a, &b);
        let difference = comparison.differences.iter().find(|d| d.what == what).unwrap();
        assert!(!difference.forbids_verdict, "{what}");
        assert_eq!(code(&comparison), 0, "{what}");
    }
}

#[test]
fn a_run_without_record_is_of_an_unknown_machine() {
    let (dir, _) = run(&small(), &draw_support::record());
    std::fs::remove_file(dir.path().join("run.json")).unwrap();
    let unknown = RunDir::load(dir.path()).unwrap();
    let comparison = compare::compare(&unknown, &unknown);
    assert!(comparison.differences[0].forbids_verdict);
    assert_eq!(code(&comparison), 4);
}

#[test]
fn unmatched_and_failed_points_are_listed() {
    let comparison = against(&small(), &Made { counts: vec![1_000, 9_000], ..small() });
    assert!(comparison.left_out.contains(&"only in A: 5,000 clients".to_owned()), "{:?}", comparison.left_out);
    assert!(comparison.left_out.contains(&"only in B: 9,000 clients".to_owned()), "{:?}", comparison.left_out);
    assert_eq!(comparison.points.len(), 1);
    let nothing = against(&small(), &Made { counts: vec![7], ..small() });
    assert_eq!(code(&nothing), 4);
    let failed = against(&small(), &Made { status: Status::Failed, ..small() });
    assert!(failed.left_out.iter().any(|l| l.starts_with("failed in B: 1,000 clients, repetition 1: connect")));
    assert_eq!(figure(&failed, "met_expectations").verdict, Verdict::Worse);
    assert_eq!(code(&failed), 3);
}

#[test]
fn other_payloads_make_deliveries_not_comparable() {
    let (dir, _) = run(&small(), &draw_support::record());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    for row in &mut rows {
        row.payload_bytes = Some(1024);
    }
    draw_support::put(dir.path(), &rows);
    let (_a, a) = run(&small(), &draw_support::record());
    let comparison = compare::compare(&a, &RunDir::load(dir.path()).unwrap());
    assert_eq!(figure(&comparison, "delivery_p50_ns").verdict, Verdict::NotComparable);
    assert_eq!(figure(&comparison, "kernel_bytes_per_client").verdict, Verdict::Same);
}

#[test]
fn what_is_worse_counts_from_the_tolerance_on() {
    let worse = [against(&small(), &Made { cost_percent: 130, ..small() })];
    assert_eq!([0.0, 0.2, 0.5].map(|tolerance| compare::exit_code(&worse, tolerance)), [3, 3, 0]);
    let fewer = [against(&small(), &Made { joined_per_mille: 900, ..small() })];
    assert_eq!([0.05, 0.2].map(|tolerance| compare::exit_code(&fewer, tolerance)), [3, 0], "in either direction");
}

#[test]
fn repetitions_show_their_spread_and_a_single_one_has_none() {
    let three = against(&small(), &small());
    let spread = figure(&three, "kernel_bytes_per_client").spread_a.expect("three repetitions");
    assert!(spread > 0.0 && spread < 0.05, "{spread}");
    let single = Made { repetitions: 1, ..small() };
    assert_eq!(figure(&against(&single, &single), "kernel_bytes_per_client").spread_a, None);
}

fn c2m(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_c2m")).arg("compare").args(arguments).output();
    let output = output.expect("c2m runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What others published stands beside a run's own figures, and gets no verdict: another machine, mostly unknown.
#[test]
fn published_results_are_set_beside_a_run_without_a_verdict() {
    let (dir, _) = run(&Made { counts: vec![300_000], ..small() }, &draw_support::record());
    let published = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/published/experiments.csv");
    let (status, text, errors) = c2m(&[published.as_os_str(), dir.path().as_os_str()]);
    assert_eq!(status, Some(4), "{errors}");
    assert!(text.contains("Phoenix 2015") && text.contains("300,000 clients"), "{text}");
    assert!(text.contains("not comparable: the machines differ") && !text.contains("better"), "{text}");

    let broken = dir.path().join("published.csv");
    std::fs::write(&broken, "system,year,clients\nPhoenix,2015,many\n").unwrap();
    let (status, _, errors) = c2m(&[broken.as_os_str(), dir.path().as_os_str()]);
    assert!(status == Some(2) && errors.contains("published.csv"), "{errors}");
}

/// One run is compared with itself server by server, the first of its definition with the others.
#[test]
fn the_servers_of_one_run_are_set_beside_the_first() {
    let (dir, _) = run(&small(), &draw_support::record());
    let mut rows: Vec<PointRow> = table::read(dir.path()).unwrap();
    let mut slower: Vec<PointRow> = rows.clone();
    for row in &mut rows {
        row.variant = "shards, 2 rooms equal".into();
    }
    for row in &mut slower {
        row.variant = "tokio, 2 rooms equal".into();
        row.delivery_p99_ns = row.delivery_p99_ns.map(|ns| ns * 2);
    }
    rows.extend(slower);
    draw_support::put(dir.path(), &rows);
    let compare = || {
        let output = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("compare").arg(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, said) = compare();
    assert_eq!(code, Some(2));
    assert!(said.contains("no servers to compare") && said.contains("second run directory"), "{said}");
    let definition = "question = \"?\"\n[clients]\ncounts = [1000, 5000]\nrooms = { count = 2 }\n[server]\n\
                      engine = [\"shards\", \"tokio\"]\n";
    std::fs::write(dir.path().join("experiment.toml"), definition).unwrap();
    let (code, text, _) = compare();
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("A  shards\nB  tokio") && text.contains("1,000 clients, 2 rooms equal"), "{text}");
    let line = text.lines().find(|line| line.contains("delivery_p99_ns")).unwrap();
    assert!(line.contains("2.000") && line.ends_with("worse"), "{line}");
    let line = text.lines().find(|line| line.contains("join_p99_ns")).unwrap();
    assert!(line.ends_with("same"), "{line}");
    let html = std::fs::read_to_string(c2m::report::write(dir.path()).unwrap()).unwrap();
    assert!(html.contains("Servers side by side") && html.contains("(2.00\u{a0}×)"));
}
