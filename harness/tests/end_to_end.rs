//! Whole runs with real processes and sockets: exact counters, and what is left after something is killed.
//!
//! The server and the agent are built by `make test` beside the harness.

mod live;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use c2m::rundir::RunDir;
use c2m_schema::control::Engine;
use c2m_schema::rooms::{RoomPlan, Rooms, Sizes};
use c2m_schema::rows::{BroadcastRow, ErrorRow, FloorRow, Phase, PointRow, SampleRow, Status, Subject};
use c2m_schema::table;
use live::{
    Bench, Running, assert_left_in_order, assert_states_add_up, errors, eventually, kill, run_directory, small,
};

#[test]
fn a_thousand_clients_get_every_broadcast_once_and_a_second_run_keeps_the_first() {
    let bench = Bench::new();
    let experiment = bench.experiment("smoke", &small(1000, 2000, 10));
    let first = bench.c2m(&experiment).output().expect("c2m runs");
    assert!(first.status.success(), "{}", errors(&first));
    let dir = run_directory(&first);

    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    let [point] = points.as_slice() else { panic!("one row: {points:?}") };
    assert_eq!((point.status, point.reason.as_str()), (Status::Ok, ""));
    assert_eq!(
        [point.attempted, point.tcp_connected, point.upgraded, point.joined, point.live_at_end],
        [Some(1000); 5]
    );
    assert_eq!([point.dropped, point.deliveries_missing, point.deliveries_duplicate], [Some(0); 3]);
    assert_eq!([point.deliveries_expected, point.deliveries_received], [Some(10_000); 2]);
    assert!(point.observed.expect("observers ran") >= 10, "{point:?}");
    assert_eq!(point.observed_mismatch, Some(0));

    let broadcasts: Vec<BroadcastRow> = table::read(&dir).expect("broadcasts.csv");
    assert_eq!(broadcasts.len(), 10);
    for b in &broadcasts {
        assert_eq!((b.expected, b.received, b.missing, b.duplicate, b.unexpected), (1000, 1000, 0, 0, 0), "{b:?}");
        assert!(b.sent_ns >= Some(b.due_ns) && b.first_ns >= b.sent_ns && b.last_ns >= b.first_ns, "{b:?}");
    }
    assert_states_add_up(&table::read(&dir).expect("samples.csv"));
    assert!(table::read::<ErrorRow>(&dir).expect("errors.csv").iter().all(|e| e.side == "server"), "no client failed");
    for file in
        ["experiment.toml", "run.json", "cores.csv", "latency.csv", "report.html", "plots/users.svg", "plots/users.png"]
    {
        assert!(dir.join(file).is_file(), "{file}");
    }

    let kept = std::fs::read(dir.join("points.csv")).expect("read");
    let second = bench.c2m(&experiment).output().expect("c2m runs");
    assert!(second.status.success(), "{}", errors(&second));
    assert_ne!(run_directory(&second), dir);
    assert_eq!(std::fs::read(dir.join("points.csv")).expect("read"), kept);
    assert_eq!(bench.runs().len(), 2);
}

/// The ledger holds for each room: its members get each of its broadcasts once, and nobody else does.
#[test]
fn clients_in_many_rooms_get_what_is_said_in_their_own_and_nothing_else() {
    let bench = Bench::new();
    let rooms = "rooms = { count = [1, 40, 300], sizes = [\"equal\", \"zipf\"] }\nobservers = 20\n[agents]\ncount = 2\n[arrival]";
    let text = small(300, 1000, 60).replace("[arrival]", rooms).replace("interval_ms = 200", "interval_ms = 20");
    let output =
        bench.c2m(&bench.experiment("rooms", &(text + "dropped = 0\nunexpected = 0\n"))).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let dir = run_directory(&output);
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    let broadcasts: Vec<BroadcastRow> = table::read(&dir).expect("broadcasts.csv");
    let told: Vec<_> = points.iter().map(|p| (p.rooms, p.joined, p.deliveries_unexpected)).collect();
    let each = |rooms| (Some(rooms), Some(300), Some(0));
    assert_eq!(told, [each(1), each(40), each(40), each(300), each(300)]);
    for point in &points {
        let plan = RoomPlan {
            count: u32::try_from(point.rooms.expect("rooms")).expect("few"),
            sizes: if point.variant.ends_with("zipf") { Sizes::Zipf } else { Sizes::Equal },
            clients: 300,
            observers: 20,
            agents: 2,
            agent: 0,
        };
        let rooms = Rooms::new(plan);
        let of_point: Vec<_> = broadcasts.iter().filter(|b| b.point == point.point).collect();
        assert_eq!(of_point.len(), 60);
        for b in of_point {
            let room = b.room.expect("has a room");
            let members = (0..300).filter(|&client| u64::from(rooms.room_of(client)) == room).count() as u64;
            assert_eq!((b.expected, b.received, b.duplicate, b.unexpected), (members, members, 0, 0), "{b:?}");
            assert!(members > 0 && b.sent_ns.is_some() && b.replied_ns.is_some(), "{b:?}");
        }
        assert_eq!(point.observed_mismatch, Some(0), "{point:?}");
    }
    assert!(points[0].observed == Some(20 * 60) && points[1].observed > Some(0), "observers are members like others");
    let spoken = |point: u32| -> std::collections::BTreeSet<_> {
        broadcasts.iter().filter(|b| b.point == point).map(|b| b.room).collect()
    };
    assert!(spoken(0).len() == 1 && spoken(1).len() > 20 && spoken(3).len() > 40, "many rooms were spoken to");
}

/// C13 and C14: the server drops who does not read, says so, and all the others get everything.
#[test]
fn a_stuck_reader_is_dropped_as_a_slow_consumer_and_the_others_get_everything() {
    let bench = Bench::new();
    let slow = "slow = { share = [0, 0.01], kind = \"never\" }\n[arrival]";
    // 150 frames of 16 KiB are more than its queue of 1 MiB and the buffers of both sockets hold.
    let text = small(100, 1000, 150)
        .replace("[arrival]", slow)
        .replace("interval_ms = 200", "interval_ms = 20\npayload_bytes = 16384");
    let output = bench.c2m(&bench.experiment("stuck", &(text + "dropped = 0\n"))).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let dir = run_directory(&output);
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    let [without, with] = points.as_slice() else { panic!("two rows: {points:?}") };
    let slow = |p: &PointRow| [p.joined, p.slow_clients, p.dropped, p.slow_dropped, p.live_at_end];
    assert_eq!(slow(without), [Some(100), Some(0), Some(0), Some(0), Some(100)]);
    assert_eq!(slow(with), [Some(100), Some(1), Some(1), Some(1), Some(99)], "{with:?}");
    assert_eq!([without.deliveries_received, without.deliveries_missing], [Some(100 * 150), Some(0)]);
    assert_eq!([with.deliveries_received, with.deliveries_missing], [Some(99 * 150), Some(0)]);
    let found: Vec<ErrorRow> = table::read(&dir).expect("errors.csv");
    let count = |point: u32, side: &str, kind: &str| -> u64 {
        let is_it = |e: &&ErrorRow| e.point == point && e.side == side && e.kind == kind;
        found.iter().filter(is_it).map(|e| e.count).sum()
    };
    assert_eq!((count(0, "server", "slow_consumer"), count(1, "server", "slow_consumer")), (0, 1));
    assert_eq!(count(1, "agent-0", "reset"), 1, "{found:?}");
    assert_states_add_up(&table::read(&dir).expect("samples.csv"));
}

/// C27: clients without heartbeats are closed as idle (1001) again and again, and come back each time.
#[test]
fn clients_that_reconnect_are_counted_once_and_what_they_missed_has_its_reason() {
    let bench = Bench::new();
    let text = small(50, 1000, 20)
        .replace("[arrival]", "heartbeat_s = 0\nreconnect = true\n[server]\nidle_timeout_s = 1\n[arrival]")
        .replace("interval_ms = 200", "interval_ms = 200\ndeadline_ms = 5000")
        .replace("missing = 0\nduplicate = 0", "dropped = 50\nduplicate = 0");
    let output = bench.c2m(&bench.experiment("returns", &text)).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let dir = run_directory(&output);
    let points: Vec<PointRow> = table::read(&dir).expect("points.csv");
    let [point] = points.as_slice() else { panic!("one row: {points:?}") };
    assert_eq!([point.attempted, point.joined, point.dropped], [Some(50), Some(50), Some(0)], "{point:?}");
    assert_eq!(point.live_at_end.zip(point.reconnecting_at_end).map(|(live, away)| live + away), Some(50), "{point:?}");
    assert!(point.reconnects > Some(0) && point.reconnect_refused == Some(0), "{point:?}");
    assert!(point.deliveries_lost_away > Some(0), "{point:?}");
    assert_eq!(point.deliveries_missing, point.deliveries_lost_away, "{point:?}");
    let broadcasts: Vec<BroadcastRow> = table::read(&dir).expect("broadcasts.csv");
    assert!(broadcasts.iter().all(|b| b.expected == 50 && b.lost_away == Some(b.missing)), "{broadcasts:?}");
    let found: Vec<ErrorRow> = table::read(&dir).expect("errors.csv");
    let closed = found.iter().find(|e| e.side == "agent-0" && e.kind == "closed" && e.code == 1001);
    assert_eq!(closed.map(|e| (e.retried, Some(e.count) >= point.reconnects)), Some((Some(true), true)), "{found:?}");
    assert_states_add_up(&table::read(&dir).expect("samples.csv"));
}

/// Who reads slower than is sent to it is dropped as well, and who keeps up is not.
#[test]
fn a_slow_reader_is_dropped_only_when_it_falls_behind() {
    let bench = Bench::new();
    let slow = "slow = { share = 0.05, kind = \"slowly\", bytes_per_s = 20000 }\n[arrival]";
    let text = small(60, 1000, 150)
        .replace("[arrival]", slow)
        .replace("interval_ms = 200", "interval_ms = 20\npayload_bytes = [64, 16384]");
    let output = bench.c2m(&bench.experiment("slowly", &text)).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let points: Vec<PointRow> = table::read(&run_directory(&output)).expect("points.csv");
    let told: Vec<_> = points.iter().map(|p| (p.slow_clients, p.slow_dropped, p.deliveries_missing)).collect();
    assert_eq!(told, [(Some(3), Some(0), Some(0)), (Some(3), Some(3), Some(0))]);
    assert!(points.iter().all(|p| p.deliveries_received == Some(57 * 150)), "{points:?}");
}

#[test]
fn report_and_plots_come_back_byte_for_byte_from_the_tables() {
    let bench = Bench::new();
    let output = bench.c2m(&bench.experiment("again", &small(100, 1000, 3))).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let dir = run_directory(&output);
    let derived = || -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir.join("plots")).expect("plots").map(|e| e.expect("entry").path()).collect();
        files.push(dir.join("report.html"));
        files.sort();
        files.into_iter().map(|f| (f.clone(), std::fs::read(f).expect("read"))).collect()
    };
    let before = derived();
    assert!(before.len() > 6, "charts and report: {}", before.len());
    std::fs::remove_dir_all(dir.join("plots")).expect("remove");
    std::fs::remove_file(dir.join("report.html")).expect("remove");
    for verb in ["plot", "report"] {
        let done = Command::new(env!("CARGO_BIN_EXE_c2m")).arg(verb).arg(&dir).output().expect("c2m runs");
        assert!(done.status.success(), "{verb}: {}", errors(&done));
    }
    assert!(before == derived(), "charts and report are pure functions of the tables");
}

#[test]
fn a_killed_server_fails_the_point_and_says_so() {
    let bench = Bench::new();
    let running = Running::start(&bench);
    let processes = running.children();
    kill(running.child_named("c2m-server"), "KILL");
    let (status, log) = running.end();
    assert!(!status.success(), "{log}");
    let point = assert_left_in_order(&bench, &processes);
    assert!(point.reason.contains("server"), "{point:?}");
}

#[test]
fn a_killed_agent_makes_the_point_partial() {
    let bench = Bench::new();
    let running = Running::start(&bench);
    let processes = running.children();
    kill(running.child_named("c2m-loadgen"), "KILL");
    let (status, log) = running.end();
    assert!(!status.success(), "{log}");
    let point = assert_left_in_order(&bench, &processes);
    assert_eq!(point.status, Status::Partial, "{point:?}");
    assert!(point.reason.contains("agent"), "{point:?}");
}

#[test]
fn a_killed_harness_leaves_a_status_and_no_orphan() {
    let bench = Bench::new();
    let running = Running::start(&bench);
    let processes = running.children();
    kill(running.child.id(), "KILL");
    let (status, _) = running.end();
    assert!(!status.success());
    let point = assert_left_in_order(&bench, &processes);
    assert_eq!(point.status, Status::Interrupted);
}

#[test]
fn an_interrupted_run_ends_in_order() {
    let bench = Bench::new();
    let running = Running::start(&bench);
    let processes = running.children();
    kill(running.child.id(), "INT");
    let (status, log) = running.end();
    assert_eq!(status.code(), Some(1), "{log}");
    let point = assert_left_in_order(&bench, &processes);
    assert_eq!(point.status, Status::Interrupted, "{point:?}");
}

/// A run that was killed in its second point goes on in its own directory: what was measured stays as it was.
#[test]
fn a_killed_run_is_taken_up_again_and_does_only_what_is_missing() {
    let bench = Bench::new();
    let text = small(150, 1000, 2).replace("counts = [150]", "counts = [100, 150]");
    let mut child = bench.c2m(&bench.experiment("resumed", &text)).stdout(Stdio::null()).spawn().expect("c2m starts");
    let dir = eventually("the second point runs", || {
        let dir = bench.runs().into_iter().next()?;
        let samples: Vec<SampleRow> = table::read(&dir).ok()?;
        samples.iter().any(|s| s.point == 1 && s.subject == Subject::Agent && s.live > Some(0)).then_some(dir)
    });
    kill(child.id(), "KILL");
    child.wait().expect("wait");
    let rows = |dir: &Path| table::read::<PointRow>(dir).expect("points.csv");
    let before = rows(&dir);
    assert_eq!(before.iter().map(|r| r.status).collect::<Vec<_>>(), [Status::Ok, Status::Interrupted]);

    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    let output = command.arg("run").arg("--resume").arg(&dir).output().expect("c2m runs");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(run_directory(&output), dir);
    let after = rows(&dir);
    assert_eq!(after[0], before[0], "what was measured stays");
    assert_eq!((after.len(), after[1].status, after[1].joined), (2, Status::Ok, Some(150)));
    assert!(after[1].started_ns > after[0].ended_ns, "times go on");
    let samples: Vec<SampleRow> = table::read(&dir).expect("samples.csv");
    assert!(samples.is_sorted_by_key(|s| s.t_ns), "nothing of the point that was cut off is left among the new");
    assert_states_add_up(&samples);
    let broadcasts: Vec<BroadcastRow> = table::read(&dir).expect("broadcasts.csv");
    assert_eq!(
        broadcasts.iter().map(|b| (b.point, b.expected)).collect::<Vec<_>>(),
        [(0, 100), (0, 100), (1, 150), (1, 150)]
    );
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("run.json")).expect("run.json")).expect("JSON");
    assert_eq!(record["resumed"].as_array().map_or(0, Vec::len), 1);

    let again =
        Command::new(env!("CARGO_BIN_EXE_c2m")).arg("run").arg("--resume").arg(&dir).output().expect("c2m runs");
    assert_eq!(again.status.code(), Some(0), "nothing is missing: {}", errors(&again));
    assert_eq!(rows(&dir), after);
}

#[test]
fn a_run_that_is_none_is_not_taken_up_again() {
    let bench = Bench::new();
    for arguments in [&["--resume", "nowhere"][..], &["--resume", "x", "y.toml"], &["--resume", "x", "--set", "a=1"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("run").args(arguments).output().expect("c2m runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
    }
    assert!(bench.runs().is_empty());
}

/// The definition as it was run, again: the same machine, so every figure has a verdict but those of single repetitions.
#[test]
fn a_rerun_is_a_new_run_of_the_same_definition_and_is_compared() {
    let bench = Bench::new();
    let text = small(60, 1000, 1).replace("settle_s = 1", "settle_s = 0.1\nrepetitions = 2");
    let output = bench.c2m(&bench.experiment("first", &text)).output().expect("c2m runs");
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let first = run_directory(&output);
    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    let output = command.arg("rerun").arg(&first).arg("--results").arg(bench.results()).output().expect("c2m runs");
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert!([0, 3].contains(&output.status.code().expect("a status")), "{text}\n{}", errors(&output));
    assert_eq!(bench.runs().len(), 2);
    let second = PathBuf::from(text.lines().next().expect("the run directory"));
    assert!(second.ends_with(second.file_name().expect("a name")) && second.to_string_lossy().ends_with("-rerun"));
    assert_eq!(std::fs::read(first.join("experiment.toml")).ok(), std::fs::read(second.join("experiment.toml")).ok());
    assert!(text.contains("joined") && text.contains("same"), "{text}");
    let seed = |dir: &Path| RunDir::load(dir).expect("a run").record.expect("run.json").seed;
    assert!(seed(&first).is_some() && seed(&first) == seed(&second), "random numbers come from the same seed");
}

#[test]
fn a_wrong_key_is_named_with_its_file_and_the_likely_one() {
    let bench = Bench::new();
    let text = small(10, 10, 1).replace("rate_per_s", "rate_per_sec");
    let output = bench.c2m(&bench.experiment("typo", &text)).output().expect("c2m runs");
    assert_eq!(output.status.code(), Some(2));
    let message = errors(&output);
    for part in ["typo.toml", "rate_per_sec", "rate_per_s"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(bench.runs().is_empty());
}

/// Any command can be the server: what it started is sampled as one, and ends with the run.
#[test]
fn another_server_is_started_seen_to_be_ready_measured_and_ended() {
    let own = Path::new(env!("CARGO_BIN_EXE_c2m")).with_file_name("c2m-server");
    // Free in a network of the run's own.
    let port = 4567;
    for ready in ["\"type\":\"ready\"".to_owned(), format!("http://127.0.0.1:{port}/healthz")] {
        let bench = Bench::new();
        // A shell that waits for what it started, as launchers do.
        let script = format!("$SERVER --listen 127.0.0.1:{port}; true");
        let keys = format!(
            "[server]\ncommand = [\"sh\", \"-c\", {script:?}]\nenv = {{ SERVER = {own:?} }}\nready = {ready:?}\n\
             url = \"ws://127.0.0.1:{port}/socket/websocket\"\n[clients]"
        );
        let text = small(200, 1_000, 5).replace("[clients]", &keys);
        let output = bench.c2m(&bench.experiment("other", &text)).output().expect("c2m runs");
        if errors(&output).contains("no private network") {
            println!("skipped: the run has no network of its own, so the port may be taken");
            return;
        }
        assert!(output.status.success(), "{}", errors(&output));
        let points: Vec<PointRow> = table::read(&run_directory(&output)).expect("points.csv");
        assert_eq!((points[0].joined, points[0].deliveries_received), (Some(200), Some(1_000)), "{points:?}");
        // A shell alone would be far below.
        assert!(points[0].server_rss_bytes > Some(5_000_000), "{points:?}");
        let left = String::from_utf8(Command::new("ps").args(["-eo", "args"]).output().expect("ps runs").stdout);
        assert!(!left.expect("UTF-8").contains(&format!("--listen 127.0.0.1:{port}")), "nothing is left running");
    }
}

/// The same points on each engine and on another server, in one run, which ends with all of them beside each other.
#[test]
fn engines_and_another_server_are_measured_in_one_run_and_compared() {
    let own = Path::new(env!("CARGO_BIN_EXE_c2m")).with_file_name("c2m-server");
    let bench = Bench::new();
    let keys = format!(
        "[server]\nengine = [\"shards\", \"tokio\", \"other\"]\n[server.others.other]\n\
         command = [{own:?}, \"--listen\", \"127.0.0.1:4568\"]\nready = \"\\\"type\\\":\\\"ready\\\"\"\n\
         url = \"ws://127.0.0.1:4568/socket/websocket\"\n[clients]"
    );
    let text = small(150, 1_000, 4).replace("[clients]", &keys).replace("[measure]\n", "[measure]\nrepetitions = 2\n");
    let output = bench.c2m(&bench.experiment("engines", &text)).output().expect("c2m runs");
    let said = errors(&output);
    if said.contains("no private network") {
        println!("skipped: the run has no network of its own, so the port may be taken");
        return;
    }
    assert!(output.status.success(), "{said}");
    for part in ["150 clients: medians", "shards", "server CPU per million deliveries", "×"] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let run = run_directory(&output);
    let points: Vec<PointRow> = table::read(&run).expect("points.csv");
    let variants: Vec<_> = points.iter().map(|p| p.variant.as_str()).collect();
    assert_eq!(variants, ["shards", "shards", "tokio", "tokio", "other", "other"]);
    for p in &points {
        assert_eq!((p.joined, p.deliveries_received, p.deliveries_missing), (Some(150), Some(600), Some(0)), "{p:?}");
    }
    let record = RunDir::load(&run).expect("a run").record.expect("run.json");
    let engines: Vec<_> = record.roles.iter().map(|role| role.server.as_ref().and_then(|ready| ready.engine)).collect();
    assert_eq!(engines[..4], [Some(Engine::Shards), Some(Engine::Shards), Some(Engine::Tokio), Some(Engine::Tokio)]);
    assert_eq!(engines[4..], [None, None], "of another server nothing is known");
    let html = std::fs::read_to_string(run.join("report.html")).expect("report");
    assert!(html.contains("Servers side by side"));
    let compared = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("compare").arg(&run).output().expect("c2m runs");
    let text = String::from_utf8(compared.stdout).expect("UTF-8");
    assert!(text.contains("A  shards\nB  tokio") && text.contains("B  other"), "{text}");
}

/// A server that runs already is loaded, and nothing is said of its memory.
#[test]
fn a_server_that_runs_already_is_reached_by_its_url() {
    let own = Path::new(env!("CARGO_BIN_EXE_c2m")).with_file_name("c2m-server");
    let mut command = Command::new(own);
    let mut server = command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    let stdout = server.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let ready: c2m_schema::control::ServerEvent = serde_json::from_str(&line).expect("ready");
    let c2m_schema::control::ServerEvent::Ready(ready) = ready else { panic!("{line}") };
    let bench = Bench::new();
    let keys = format!("[server]\nurl = \"ws://{}/socket/websocket\"\n[clients]", ready.address);
    let text = small(100, 1_000, 3).replace("[clients]", &keys);
    let output = bench.c2m(&bench.experiment("there", &text)).output().expect("c2m runs");
    assert!(output.status.success(), "{}", errors(&output));
    let points: Vec<PointRow> = table::read(&run_directory(&output)).expect("points.csv");
    assert_eq!((points[0].joined, points[0].deliveries_received), (Some(100), Some(300)), "{points:?}");
    assert_eq!((points[0].server_rss_bytes, points[0].server_shards), (None, None));
    kill(server.id(), "TERM");
    server.wait().expect("ends");
}

/// C24: two runs that begin in the same second do not mix.
#[test]
fn runs_of_the_same_second_get_directories_of_their_own() {
    let bench = Bench::new();
    let experiment = bench.experiment("twins", &small(20, 1000, 1));
    let mut twins: Vec<_> = (0..2).map(|_| bench.c2m(&experiment).spawn().expect("c2m starts")).collect();
    let outputs: Vec<_> = twins.drain(..).map(|c| c.wait_with_output().expect("wait")).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", errors(output));
    }
    assert_ne!(run_directory(&outputs[0]), run_directory(&outputs[1]));
}

#[test]
fn bare_sockets_are_measured_beside_every_repetition_and_the_report_says_the_multiples() {
    let bench = Bench::new();
    let text = small(150, 1_000, 2) + "[floor]\nbroadcasts = 2\n";
    let path = bench.experiment("floor", &text.replace("[measure]\n", "[measure]\nrepetitions = 2\n"));
    let output = bench.c2m(&path).output().expect("run c2m");
    assert!(output.status.success(), "{}", errors(&output));
    let run = run_directory(&output);
    let floor: Vec<FloorRow> = table::read(&run).expect("floor.csv");
    assert_eq!(floor.iter().map(|f| (f.point, f.repetition)).collect::<Vec<_>>(), [(0, 0), (0, 1)]);
    for row in &floor {
        assert_eq!((row.clients, row.wire_bytes, row.broadcasts, row.reason.as_str()), (150, 102, 2, ""));
        assert!(row.connects_per_s.is_some_and(|rate| rate > 0.0));
        assert!(row.arrivals_per_s.is_some_and(|rate| rate > 0.0) && row.arrive_ns.is_some_and(|ns| ns > 0));
        assert!(row.to_all_min_ns <= row.to_all_p50_ns && row.to_all_p50_ns <= row.to_all_max_ns);
        assert!(row.to_all_min_ns.is_some_and(|ns| ns > 0));
    }
    let html = std::fs::read_to_string(run.join("report.html")).expect("report");
    assert!(html.contains("Against bare sockets") && html.contains("median"));
    for figure in ["arrivals per s", "arrivals per s, against connects alone"] {
        assert!(html.contains(&format!(">{figure}</th>")), "{figure}");
    }
}

/// What does not fit is refused with the remedy, as by `c2m run`, and nothing is measured.
#[test]
fn a_floor_that_does_not_fit_the_machine_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_c2m"))
        .args(["floor", "--clients", "16000000", "--json"])
        .output()
        .expect("run c2m");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(errors(&output).contains("memory"), "{}", errors(&output));
}

/// C19, C20: within three per cent, by means that share no code with the harness: `/proc`, the server's own counters, `ss` and the
/// interface's counters in the run's namespace.
#[test]
fn figures_agree_with_independent_witnesses() {
    const CLIENTS: u64 = 400;
    let bench = Bench::new();
    let text = small(CLIENTS, 2_000, 20)
        .replace("interval_ms = 200", "interval_ms = 100\npayload_bytes = 16_384")
        .replace("settle_s = 1", "settle_s = 0.5\nhold_s = 60");
    let running = Running::of(&bench, CLIENTS, &text);
    let server = running.child_named("c2m-server");
    let samples = eventually("clients are held after the broadcasts", || {
        let samples: Vec<SampleRow> = table::read(&bench.only_run()).ok()?;
        let holds = |s: &&SampleRow| (s.phase, s.subject) == (Phase::Hold, Subject::Server);
        (samples.iter().filter(holds).count() > 1).then_some(samples)
    });
    let inside = |script: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &server.to_string(), "--", "bash", "-c", script]);
        command.output().ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    };
    let record = std::fs::read_to_string(bench.only_run().join("run.json")).expect("run.json");
    let is_alone = record.contains("\"mode\": \"netns\"");
    let Some(listening) = inside("ss -Hltn").filter(|_| is_alone) else {
        println!("skipped: the run has no namespace of its own, or nsenter and ss are not allowed here");
        return;
    };
    let (address, port) = listening.split_whitespace().nth(3).and_then(|a| a.rsplit_once(':')).expect("an address");
    let near = |what: &str, figure: u64, witness: u64| {
        let apart = figure.abs_diff(witness) as f64 / witness.max(1) as f64;
        assert!(apart <= 0.03, "{what}: {figure} against {witness}");
    };
    let last = |subject| samples.iter().rfind(|s| s.subject == subject).expect("sampled");

    let status = std::fs::read_to_string(format!("/proc/{server}/status")).expect("the server runs");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).expect("VmRSS");
    let resident: u64 = resident.trim().parse().expect("a number");
    near("resident bytes", last(Subject::Server).rss_bytes.expect("measured"), resident * 1024);

    let request = "GET /stats HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n";
    let answer =
        inside(&format!("exec 3<>/dev/tcp/{address}/{port}; printf '{request}' >&3; cat <&3")).expect("/stats");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let stats: c2m_schema::control::ServerStats = serde_json::from_str(body).expect("JSON");
    let live = last(Subject::Agent).live.expect("measured");
    assert_eq!((live, stats.joined), (CLIENTS, CLIENTS));
    let sockets = inside(&format!("ss -Htn state established 'sport = :{port}' | wc -l")).expect("ss");
    assert_eq!(sockets.trim().parse(), Ok(CLIENTS));

    let devices = inside("cat /proc/net/dev").expect("counters");
    let lo = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).expect("lo");
    let received: u64 = lo.split_whitespace().next().and_then(|n| n.parse().ok()).expect("bytes");
    // Headers and acknowledgements go with these.
    near("bytes on the wire", stats.bytes_out + stats.bytes_in, received);
    kill(running.child.id(), "INT");
    running.end();
}
