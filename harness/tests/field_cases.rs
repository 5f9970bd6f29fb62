//! Cases from the field that need the real server and the real load agent, without or with the harness.

mod programs;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use c2m_schema::control::ServerEvent;
use c2m_schema::rows::PointRow;
use c2m_schema::table;
use programs::binary;

/// A server with at most `nofile` descriptors, ended by closing its stdin.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn with_nofile(nofile: u32) -> Self {
        let script = format!("ulimit -n {nofile} && exec \"$0\" --stdio --listen 127.0.0.1:0");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(binary("c2m-server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = lines.next().expect("a first line").expect("UTF-8");
        // Statistics follow, which nobody here reads, and a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        match serde_json::from_str(&first).expect("a control line") {
            ServerEvent::Ready(ready) => Self { child, address: ready.address },
            other => panic!("the first line is ready, not {other:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// C02: a server out of descriptors leaves clients in its accept queue, where their connects succeed. They are no clients.
#[test]
fn clients_that_the_server_never_accepts_are_upgrade_timeouts_and_the_server_is_named() {
    const CLIENTS: u64 = 400;
    let server = Server::with_nofile(256);
    let output = Command::new(binary("c2m-loadgen"))
        .args(["run", "--url", &format!("ws://{}/socket/websocket", server.address)])
        .args([
            "--clients",
            &CLIENTS.to_string(),
            "--rate",
            "2000",
            "--upgrade-timeout-s",
            "3",
            "--join-timeout-s",
            "3",
        ])
        .args(["--broadcasts", "0", "--heartbeat-s", "0", "--observers", "0", "--settle-s", "0", "--json"])
        .output()
        .expect("c2m-loadgen runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let state = |name: &str| summary["states"][name].as_u64().expect(name);
    assert_eq!((state("attempted"), state("tcp_connected"), state("pending_at_end")), (CLIENTS, CLIENTS, 0));
    let upgraded = state("upgraded");
    assert!((200..256).contains(&upgraded), "{upgraded}");
    assert_eq!(state("joined"), upgraded);
    let errors = summary["errors"].as_array().expect("errors");
    let timeouts = errors.iter().find(|e| e["kind"] == "upgrade_timeout").expect("upgrade timeouts");
    assert_eq!(timeouts["count"].as_u64(), Some(CLIENTS - upgraded));
    let verdict = summary["verdict"].to_string();
    assert!(
        verdict.contains("server stopped answering upgrades") && verdict.contains(&upgraded.to_string()),
        "{verdict}"
    );
}

/// Runs a definition; gives the rows of its points.
fn run(dir: &tempfile::TempDir, counts: &str, more: &str) -> Vec<PointRow> {
    let experiment = dir.path().join("case.toml");
    let text = format!(
        "question = \"?\"\n[clients]\ncounts = {counts}\nheartbeat_s = 0\nobservers = 0\n[arrival]\nrate_per_s = 2500\n\
         [broadcast]\ncount = 0\n[measure]\nsettle_s = 1\n[expect]\njoined = \"all\"\n{more}"
    );
    std::fs::write(&experiment, text).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_c2m"));
    let output = command.arg("run").arg(&experiment).arg("--results").arg(dir.path().join("results")).output();
    let output = output.expect("c2m runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = String::from_utf8(output.stdout).expect("UTF-8");
    table::read(Path::new(run.trim())).expect("points.csv")
}

/// C21: every point has a server of its own, so what a large one took does not colour the next.
#[test]
fn the_order_of_a_sweep_does_not_change_what_a_client_costs() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let rss = |row: &PointRow| row.server_rss_bytes.expect("measured");
    let sweep = run(&dir, "[500, 4000, 500]", "");
    let alone = run(&dir, "[500]", "");
    let (third, alone) = (rss(&sweep[2]), rss(&alone[0]));
    assert!(third.abs_diff(alone) * 100 <= alone * 15, "{third} after a large point, {alone} alone");
    assert!(rss(&sweep[1]) > third, "the large point took more");
}

/// C21: clients that come and go leave nothing behind.
#[test]
fn ten_times_two_thousand_clients_leave_the_server_as_it_was_after_twice() {
    let server = Server::with_nofile(20_000);
    let resident = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let cycle = || {
        let mut command = Command::new(binary("c2m-loadgen"));
        command.args(["run", "--url", &format!("ws://{}/socket/websocket", server.address), "--clients", "2000"]);
        command.args([
            "--rate",
            "10000",
            "--broadcasts",
            "0",
            "--heartbeat-s",
            "0",
            "--observers",
            "0",
            "--settle-s",
            "0",
        ]);
        let output = command.output().expect("c2m-loadgen runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        resident()
    };
    let after: Vec<u64> = (0..10).map(|_| cycle()).collect();
    assert!(after[9] * 10 <= after[1] * 11, "kB after each cycle: {after:?}");
}

/// C22: a server that may use one core has one shard, whatever the host has.
#[test]
fn a_server_has_a_shard_for_each_core_that_it_may_use() {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(binary("c2m-server")).arg("--stdio").stdin(Stdio::null()).stdout(Stdio::piped());
    let Ok(output) = command.output() else { return println!("skipped: there is no taskset") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match serde_json::from_str(text.lines().next().unwrap_or_default()) {
        Ok(ServerEvent::Ready(ready)) => assert_eq!(ready.shards, 1),
        _ if text.is_empty() => println!("skipped: core 0 is not for this process"),
        other => panic!("the first line is ready, not {other:?}"),
    }
}

/// C15: the tokio engine keeps 4 KiB for reading, not 128, for each idle joined client. That a message of 64 KiB gets through
/// all the same is tested where the engine is.
#[test]
fn an_idle_client_costs_the_tokio_engine_at_most_12_kib() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let points = run(&dir, "[5000]", "[server]\nengine = \"tokio\"\n");
    let server = points[0].server_user_bytes_per_client.expect("measured");
    assert!((1_024.0..=12_288.0).contains(&server), "{server} B per client");
}

/// C15: what an idle joined client costs stays inside the budget of the design, in both programs.
#[test]
fn an_idle_client_costs_at_most_256_bytes_in_the_server_and_160_in_the_agent() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let points = run(&dir, "[5000]", "");
    let (server, agent) = (points[0].server_user_bytes_per_client, points[0].agent_user_bytes_per_client);
    assert!(server.expect("measured") <= 256.0, "server: {server:?} B per client");
    assert!(agent.expect("measured") <= 160.0, "agent: {agent:?} B per client");
    assert!(points[0].kernel_bytes_per_client.is_some() && points[0].all_in_bytes_per_client.is_some());
}
