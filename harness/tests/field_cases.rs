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

/// C15: what an idle joined client costs stays inside the budget of the design, in both programs.
#[test]
fn an_idle_client_costs_at_most_256_bytes_in_the_server_and_160_in_the_agent() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let experiment = dir.path().join("idle.toml");
    let text = "question = \"what does an idle client cost?\"\n[clients]\ncounts = [5000]\nheartbeat_s = 0\n\
                [arrival]\nrate_per_s = 2500\n[broadcast]\ncount = 0\n[expect]\njoined = \"all\"\n";
    std::fs::write(&experiment, text).expect("write");
    let output = Command::new(env!("CARGO_BIN_EXE_c2m"))
        .arg("run")
        .arg(&experiment)
        .args(["--set", "clients.observers=0", "--set", "measure.settle_s=1"])
        .arg("--results")
        .arg(dir.path().join("results"))
        .output()
        .expect("c2m runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = String::from_utf8(output.stdout).expect("UTF-8");
    let points: Vec<PointRow> = table::read(Path::new(run.trim())).expect("points.csv");
    let (server, agent) = (points[0].server_user_bytes_per_client, points[0].agent_user_bytes_per_client);
    assert!(server.expect("measured") <= 256.0, "server: {server:?} B per client");
    assert!(agent.expect("measured") <= 160.0, "agent: {agent:?} B per client");
    assert!(points[0].kernel_bytes_per_client.is_some() && points[0].all_in_bytes_per_client.is_some());
}
