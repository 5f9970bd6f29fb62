//! Faults at ten thousand clients: each process in turn killed, stopped and starved, and the disk full; what is left of the
//! run is looked at each time. Minutes in all, so only `make faults` runs them (`cargo test -- --ignored`), one after the
//! other.

mod live;

use std::process::Command;
use std::time::{Duration, Instant};

use c2m_schema::rows::{BroadcastRow, PointRow, SampleRow, Status};
use c2m_schema::table;
use live::{Bench, Running, assert_left_in_order, assert_states_add_up, errors, eventually, kill};

const CLIENTS: u64 = 10_000;
/// How long a process is stopped where it goes on afterwards.
const FREEZE: Duration = Duration::from_secs(2);

/// Ten broadcasts a second for ten seconds.
fn definition() -> String {
    format!(
        "question = \"what is left?\"\n[server]\nidle_timeout_s = 0\n[clients]\ncounts = [{CLIENTS}]\nheartbeat_s = 0\n\
         [arrival]\nrate_per_s = 10_000\n[broadcast]\ncount = 100\ninterval_ms = 100\ndeadline_ms = 20_000\n\
         [measure]\nsettle_s = 2\n[expect]\njoined = \"all\"\nmissing = 0\nduplicate = 0\ndropped = 0\n"
    )
}

fn started(bench: &Bench) -> Running {
    Running::of(bench, CLIENTS, &definition())
}

/// Waits until some broadcasts to all clients have been counted.
fn measuring(bench: &Bench, clients: u64) {
    eventually("broadcasts are under way", || {
        let samples: Vec<SampleRow> = table::read(&bench.only_run()).ok()?;
        samples.iter().any(|s| s.deliveries > Some(10 * clients)).then_some(())
    });
}

/// Stops a process for a while.
fn freeze(pid: u32, time: Duration) {
    kill(pid, "STOP");
    // The time that is asked for is the fault itself.
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
    kill(pid, "CONT");
}

fn point(bench: &Bench) -> PointRow {
    let rows: Vec<PointRow> = table::read(&bench.only_run()).expect("points.csv");
    rows.into_iter().next().expect("a row")
}

/// What is received, missing and lost makes up what was expected, for every broadcast.
fn assert_deliveries_add_up(bench: &Bench) {
    let rows: Vec<BroadcastRow> = table::read(&bench.only_run()).expect("broadcasts.csv");
    for row in rows {
        assert_eq!(row.expected, row.received + row.missing, "{row:?}");
    }
}

#[test]
#[ignore = "minutes: make faults"]
fn each_process_killed_ends_the_run_with_its_reason() {
    for (victim, status) in [("c2m-server", Status::Failed), ("c2m-loadgen", Status::Partial)] {
        let bench = Bench::new();
        let running = started(&bench);
        let processes = running.children();
        measuring(&bench, CLIENTS);
        kill(running.child_named(victim), "KILL");
        let (exit, log) = running.end();
        assert!(!exit.success(), "{victim}: {log}");
        let point = assert_left_in_order(&bench, &processes);
        assert_eq!(point.status, status, "{victim}: {}", point.reason);
        assert_deliveries_add_up(&bench);
    }
    let bench = Bench::new();
    let running = started(&bench);
    let processes = running.children();
    measuring(&bench, CLIENTS);
    kill(running.child.id(), "KILL");
    assert!(!running.end().0.success());
    assert_eq!(assert_left_in_order(&bench, &processes).status, Status::Interrupted);
}

/// A process that never goes on again: the run ends by its own bounds and kills it.
#[test]
#[ignore = "minutes: make faults"]
fn each_process_stopped_for_good_ends_the_run_in_bounded_time() {
    for victim in ["c2m-server", "c2m-loadgen"] {
        let bench = Bench::new();
        let running = started(&bench);
        let processes = running.children();
        measuring(&bench, CLIENTS);
        kill(running.child_named(victim), "STOP");
        let (exit, log) = running.end();
        assert!(!exit.success(), "{victim}: {log}");
        let point = assert_left_in_order(&bench, &processes);
        assert!([Status::Failed, Status::Partial].contains(&point.status), "{victim}: {point:?}");
        assert_deliveries_add_up(&bench);
    }
}

/// Coordinated omission (C16): what the freeze delayed is in the figures, from the time it was due. With so few clients
/// that a broadcast to all takes no time beside the freeze.
#[test]
#[ignore = "minutes: make faults"]
fn a_server_frozen_for_two_seconds_shows_in_the_latency() {
    const FEW: u64 = 1_000;
    let bench = Bench::new();
    let text = definition().replace(&format!("counts = [{CLIENTS}]"), &format!("counts = [{FEW}]"));
    let running = Running::of(&bench, FEW, &text);
    let server = running.child_named("c2m-server");
    measuring(&bench, FEW);
    let frozen = Instant::now();
    freeze(server, FREEZE);
    // Longer than what was asked for on a busy machine.
    let freeze_ns = frozen.elapsed().as_nanos() as u64;
    let (exit, log) = running.end();
    let point = point(&bench);
    assert!(exit.success(), "{log}");
    let rows: Vec<BroadcastRow> = table::read(&bench.only_run()).expect("broadcasts.csv");
    assert_eq!(rows.len(), 100);
    // Ten seconds of broadcasts, two of them frozen: a tenth of all waited for half of the freeze or longer.
    let share = |of: Option<u64>| of.expect("measured") as f64 / freeze_ns as f64;
    assert!((0.4..0.65).contains(&share(point.delivery_p90_ns)), "{point:?}");
    assert!((0.9..1.1).contains(&share(point.delivery_max_ns)), "the longest wait is the freeze: {point:?}");
    assert!(share(point.delivery_p50_ns) < 0.025, "half of them had nothing to wait for: {point:?}");
    assert_eq!((point.deliveries_missing, point.loadgen_saturated), (Some(0), Some(false)), "{point:?}");
    assert_states_add_up(&table::read(&bench.only_run()).expect("samples.csv"));
}

#[test]
#[ignore = "minutes: make faults"]
fn an_agent_frozen_for_two_seconds_is_saturated() {
    let bench = Bench::new();
    let running = started(&bench);
    let agent = running.child_named("c2m-loadgen");
    measuring(&bench, CLIENTS);
    freeze(agent, FREEZE);
    let (_, log) = running.end();
    let point = point(&bench);
    assert_eq!(point.loadgen_saturated, Some(true), "{log}");
    assert!(point.publish_lag_max_ns > Some(FREEZE.as_nanos() as u64 / 2), "{point:?}");
    assert_deliveries_add_up(&bench);
}

/// Nine tenths of the time stopped: everything is late, and nothing is lost or miscounted.
#[test]
#[ignore = "minutes: make faults"]
fn each_process_starved_is_slow_and_still_accounted_for() {
    for victim in ["c2m-server", "c2m-loadgen"] {
        let bench = Bench::new();
        let running = started(&bench);
        let pid = running.child_named(victim);
        measuring(&bench, CLIENTS);
        let until = Instant::now() + 2 * FREEZE;
        while Instant::now() < until {
            freeze(pid, Duration::from_millis(90));
            std::thread::sleep(Duration::from_millis(10));
        }
        let (_, log) = running.end();
        let point = point(&bench);
        assert_eq!((point.joined, point.deliveries_missing), (Some(CLIENTS), Some(0)), "{victim}: {log}");
        assert_deliveries_add_up(&bench);
        assert_states_add_up(&table::read(&bench.only_run()).expect("samples.csv"));
    }
}

/// The results are on a file system of two megabytes: the run says that it is full, and keeps what it had written.
#[test]
#[ignore = "minutes: make faults"]
fn a_full_disk_ends_the_run_and_keeps_what_was_written() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.results()).expect("results");
    let text = definition().replace(&format!("counts = [{CLIENTS}]"), "counts = [500, 10_000, 1_000]");
    let experiment = bench.experiment("full", &text.replace("count = 100", "count = 20"));
    // A mount of its own namespace, which goes with the run. What the first point leaves fits; the second fills it.
    let script = "mount -t tmpfs -o size=400k tmpfs \"$1\" && \"$2\" run \"$3\" --results \"$1\"; status=$?; \
                  cp -r \"$1\" \"$1.kept\"; exit $status";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--user", "--", "bash", "-c", script, "bash"]);
    let output =
        command.arg(bench.results()).arg(env!("CARGO_BIN_EXE_c2m")).arg(&experiment).output().expect("unshare runs");
    let log = errors(&output);
    if log.contains("unshare failed") || log.contains("mount:") {
        println!("skipped: no mount namespaces for this user: {log}");
        return;
    }
    assert!(!output.status.success(), "{log}");
    assert!(log.contains("No space left") || log.contains("os error 28"), "{log}");
    let kept = bench.dir.path().join("results.kept/full");
    let run = std::fs::read_dir(kept).expect("kept").next().expect("a run").expect("an entry").path();
    let rows: Vec<PointRow> = table::read(&run).expect("points.csv");
    assert_eq!((rows[0].status, rows[0].joined), (Status::Ok, Some(500)), "{log}");
    assert!(rows.iter().skip(1).all(|row| row.status != Status::Ok), "{log}");
}

/// A server that never answers: the agents' own time limits end the run.
#[test]
#[ignore = "minutes: make faults"]
fn a_server_that_is_stopped_before_anyone_has_joined_ends_the_run() {
    let bench = Bench::new();
    let text = definition()
        .replace("rate_per_s = 10_000", "rate_per_s = 500")
        .replace("heartbeat_s = 0", "heartbeat_s = 0\njoin_timeout_ms = 2_000\nupgrade_timeout_ms = 2_000");
    let running = Running::of(&bench, 1, &text);
    let processes = running.children();
    kill(running.child_named("c2m-server"), "STOP");
    let (exit, log) = running.end();
    assert!(!exit.success(), "{log}");
    let point = assert_left_in_order(&bench, &processes);
    assert_ne!(point.status, Status::Ok, "{log}");
}

/// The network between the two goes away in mid-run: nothing arrives any more, and the run says what is missing.
#[test]
#[ignore = "minutes: make faults"]
fn a_namespace_whose_network_goes_down_ends_the_run_in_bounded_time() {
    let bench = Bench::new();
    let running = started(&bench);
    let processes = running.children();
    let record = std::fs::read_to_string(bench.only_run().join("run.json")).expect("run.json");
    if !record.contains("\"mode\": \"netns\"") {
        println!("skipped: the run has no namespace of its own");
        return;
    }
    measuring(&bench, CLIENTS);
    let server = running.child_named("c2m-server").to_string();
    let down = ["--net", "--target", &server, "--", "ip", "link", "set", "lo", "down"];
    assert!(Command::new("nsenter").args(down).status().expect("nsenter runs").success());
    let (exit, log) = running.end();
    assert!(!exit.success(), "{log}");
    let point = assert_left_in_order(&bench, &processes);
    assert_eq!(point.status, Status::Failed, "{log}");
    assert!(point.deliveries_missing > Some(0) && point.joined == Some(CLIENTS), "{point:?}");
    assert_deliveries_add_up(&bench);
}
