//! C01 and C05: source ports that run out, and a client that could meet itself. In a network namespace with 64 ports;
//! skipped, with the reason, where user namespaces or iproute2 are not to be had.

mod programs;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use c2m_schema::control::ServerEvent;
use programs::binary;
use serde_json::Value;

const SETUP: &str = "ip link set lo up && ip addr add 10.77.0.1/24 dev lo && ip addr add 10.77.0.2/24 dev lo && \
                     echo '40000 40063' > /proc/sys/net/ipv4/ip_local_port_range";

/// A namespace that lives as long as the process in it.
struct Namespace {
    child: Child,
    first_line: String,
}

impl Namespace {
    /// Runs `command` in a new namespace and waits for its first line; none where that is not allowed.
    fn with(command: &str) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-rn", "sh", "-c", SETUP]).output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a network namespace of 64 source ports can't be made here");
            return None;
        }
        let mut child = Command::new("unshare")
            .args(["-rn", "sh", "-c", &format!("{SETUP} && {command}")])
            .env("SERVER", binary("c2m-server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first_line = lines.next().expect("a first line").expect("UTF-8");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, first_line })
    }

    fn load(&self, flags: &[&str]) -> (Option<i32>, Value, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.child.id().to_string(), "-U", "-n", "--preserve-credentials"])
            .arg(binary("c2m-loadgen"))
            .args(["run", "--json", "--heartbeat-s", "0", "--observers", "0", "--settle-s", "0", "--broadcasts", "0"])
            .args(flags)
            .output()
            .expect("nsenter runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), errors)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn errors(summary: &Value) -> Vec<(&str, i64, u64)> {
    let of = |e: &'_ Value| (e["code"].as_i64().expect("code"), e["count"].as_u64().expect("count"));
    let list = summary["errors"].as_array().expect("errors");
    list.iter().map(|e| (e["kind"].as_str().expect("kind"), of(e).0, of(e).1)).collect()
}

#[test]
fn one_address_of_64_ports_is_short_by_36_for_a_hundred_clients_and_two_are_enough() {
    let Some(namespace) = Namespace::with("exec \"$SERVER\" --stdio --listen 10.77.0.1:5000") else { return };
    let ready = serde_json::from_str(&namespace.first_line).expect("a control line");
    let ServerEvent::Ready(ready) = ready else { panic!("the first line is ready") };
    let url = format!("ws://{}/socket/websocket", ready.address);
    let base = ["--url", &url, "--clients", "100", "--rate", "500", "--source", "10.77.0.1"];

    let (status, _, message) = namespace.load(&base);
    assert_eq!(status, Some(2), "{message}");
    for part in ["64", "short by 36", "2 source addresses"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (status, summary, message) = namespace.load(&[&base[..], &["--force"]].concat());
    assert_eq!(status, Some(1), "{message}");
    assert_eq!((&summary["states"]["joined"], &summary["states"]["failed"]), (&64.into(), &36.into()));
    assert_eq!(errors(&summary), [("connect", 99, 36)], "EADDRNOTAVAIL, once for each client that found no port");

    let (status, summary, message) = namespace.load(&[&base[..], &["--source", "10.77.0.2"]].concat());
    assert_eq!(status, Some(0), "{message}");
    assert_eq!((&summary["states"]["joined"], &summary["states"]["failed"]), (&100.into(), &0.into()));
}

#[test]
fn a_client_never_meets_itself_and_the_risk_is_warned_of_until_the_port_is_reserved() {
    let hold = "echo ready && exec cat";
    let flags = ["--url", "ws://127.0.0.1:40010/socket/websocket", "--clients", "5000", "--rate", "10000"];
    let flags = [&flags[..], &["--source", "127.0.0.1", "--force"]].concat();
    let Some(namespace) = Namespace::with(hold) else { return };
    let (status, summary, message) = namespace.load(&flags);
    assert_eq!(status, Some(1), "{message}");
    assert_eq!(summary["states"]["tcp_connected"], 0, "{summary}");
    assert_eq!(errors(&summary), [("connect", 111, 5000)]);
    assert!(message.contains("ip_local_reserved_ports"), "{message}");

    let reserve = format!("echo 40010 > /proc/sys/net/ipv4/ip_local_reserved_ports && {hold}");
    let Some(namespace) = Namespace::with(&reserve) else { return };
    let (_, summary, message) = namespace.load(&flags);
    assert_eq!(summary["states"]["tcp_connected"], 0);
    assert!(!message.contains("ip_local_reserved_ports"), "{message}");
}
