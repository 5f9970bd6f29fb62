//! The program: its lines, its signals, its limits.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use c2m_schema::control::{FileTables, ServerEvent, ServerReady, ServerStats};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Client, DEADLINE, V2, count, dial, get, read_head, status, upgrade_request, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_c2m-server");

/// A running program, its lines read by a thread.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<ServerEvent>,
    pub(crate) ready: ServerReady,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(PROGRAM).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program can be started");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (to_test, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let event = serde_json::from_str(&line.expect("text")).expect("an event");
                if to_test.send(event).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        match lines.recv_timeout(DEADLINE).expect("a first line") {
            ServerEvent::Ready(ready) => Self { child, stdin, lines, ready },
            other => panic!("the first line is {other:?}"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ready.address.parse().expect("an address")
    }

    pub(crate) fn next_stats(&self) -> ServerStats {
        match self.lines.recv_timeout(DEADLINE).expect("a line every second") {
            ServerEvent::Stats(stats) => stats,
            other => panic!("instead of stats: {other:?}"),
        }
    }

    pub(crate) fn stats_when(&self, is_so: impl Fn(&ServerStats) -> bool) -> ServerStats {
        wait_for("stats that are so", || Some(self.next_stats()).filter(&is_so))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Tells it to end.
    pub(crate) fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// The end: exit status 0, and all lines that were left.
    pub(crate) fn expect_end(mut self) -> Vec<ServerEvent> {
        let status = wait_for("the program ends", || self.child.try_wait().expect("a child"));
        assert!(status.success(), "{status}");
        self.lines.iter().collect()
    }

    /// CPU time of the process in clock ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // utime and stime are fields 14 and 15 of proc(5); the state behind the name is field 3.
        [11, 12].iter().map(|&i| fields[i].parse::<u64>().expect("a number")).sum()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_ready_line_tells_what_was_started() {
    let arguments = ["--stdio", "--shards", "3", "--idle-timeout-s", "7", "--max-message-bytes", "1000"];
    let program = Program::start(&arguments);
    let ready = &program.ready;
    assert_eq!((ready.protocol, ready.pid), (c2m_schema::CONTROL_PROTOCOL, program.child.id()));
    assert_eq!((ready.shards, ready.file_tables), (3, FileTables::Shared));
    assert_eq!((ready.idle_timeout_s, ready.max_message_bytes, ready.check_origin), (7, 1000, false));
    assert_ne!(program.address().port(), 0);
    assert_eq!(status(&get(program.address(), "/healthz")), 200);
}

#[test]
fn the_end_of_stdin_drains_and_ends_with_status_0() {
    let mut program = Program::start(&["--stdio", "--shards", "2"]);
    let mut client = Client::joined(program.address());
    program.stats_when(|stats| stats.joined == 1);
    drop(program.stdin.take());
    assert_eq!(client.close_code(), Some(1012));
    let lines = program.expect_end();
    assert!(matches!(lines[..], [.., ServerEvent::Stats(_), ServerEvent::Drained { closed: 1, cut: 0 }]), "{lines:?}");
}

#[test]
fn a_signal_drains_and_ends_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(&["--listen", "127.0.0.1:0"]);
        let mut client = Client::joined(program.address());
        program.signal(signal);
        assert_eq!(client.close_code(), Some(1012));
        assert_eq!(program.expect_end(), [], "by hand it says ready and no more");
    }
}

#[test]
fn an_address_in_use_is_an_error_even_though_shards_share_theirs() {
    let program = Program::start(&["--stdio"]);
    let second = Command::new(PROGRAM).args(["--listen", &program.ready.address]).output().expect("it can be started");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use") && said.contains(&program.ready.address), "{said}");
    assert!(said.contains("`ss -ltnp` says which") && said.contains("0 any that is free"), "the remedy: {said}");
    assert_eq!(said.lines().count(), 1, "a sentence and no backtrace: {said}");
    assert!(second.stdout.is_empty());
    // The address is free again afterwards, whatever connections linger.
    let address = program.ready.address.clone();
    let client = Client::joined(program.address());
    program.signal(Signal::TERM);
    drop(client);
    program.expect_end();
    assert_eq!(Program::start(&["--listen", &address]).ready.address, address);
}

#[test]
fn private_tables_hold_connections_on_every_shard_and_broadcasts_reach_all() {
    let mut program = Program::start(&["--stdio", "--shards", "4", "--file-tables", "private"]);
    assert_eq!(program.ready.file_tables, FileTables::Private);
    // Chosen by hash: that one of four shards gets none of 80 happens once in 10^10.
    let mut clients: Vec<Client> = (0..80).map(|_| Client::joined(program.address())).collect();
    clients[0].send(r#"["1","2","rooms:lobby","new:msg",{"body":1,"user":2}]"#);
    for client in &mut clients {
        client.expect(&[r#"[null,null,"rooms:lobby","new:msg",{"body":1,"user":2}]"#]);
    }
    // This is answered by the thread whose table is the process's.
    let metrics = get(program.address(), "/metrics");
    for shard in 0..4 {
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("c2m_connections{{shard=\"{shard}\"}} ")))
            .and_then(|count| count.parse::<u32>().ok());
        assert!(count.is_some_and(|count| count > 0), "shard {shard} in\n{metrics}");
    }
    clients.into_iter().for_each(drop);
    program.stats_when(|stats| stats.connections == 0 && stats.joined == 0);
    drop(program.stdin.take());
    program.expect_end();
}

#[test]
fn without_descriptors_accepting_pauses_and_resumes_and_clients_are_served() {
    // The program raises its soft limit to the hard one, so both are set. The word behind the script becomes $0.
    let script = r#"ulimit -n 64; exec "$0" --stdio --shards 1"#;
    let program = Program::spawn(Command::new("sh").args(["-c", script, PROGRAM]));
    assert_eq!(program.ready.nofile, 64);
    let mut client = Client::joined(program.address());

    let mut waiting: Vec<_> = (0..80).map(|_| dial(program.address())).collect();
    for stream in &mut waiting {
        stream.write_all(upgrade_request(V2, "").as_bytes()).expect("the accept queue takes it");
    }
    let full = program.stats_when(|stats| count(stats, "accept", 24) > 0 && stats.connections > 30);
    assert!(full.connections < 64, "{full:?}");

    let (before, ticks) = (program.next_stats(), program.cpu_ticks());
    let after = program.next_stats();
    let spent = program.cpu_ticks() - ticks;
    let tries = count(&after, "accept", 24) - count(&before, "accept", 24);
    assert!(spent < 30, "{spent} ticks in a second: accepting does not pause");
    assert!(tries < 50, "{tries} tries in a second");
    client.ask(
        r#"[null,"2","phoenix","heartbeat",{}]"#,
        &[r#"[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]"#],
    );

    // Whoever was accepted leaves, half by half, until all have had their turn.
    let mut served = 0;
    while !waiting.is_empty() {
        let upgraded: Vec<usize> = wait_for("someone is accepted", || {
            let has_answer = |stream: &std::net::TcpStream| {
                stream.set_nonblocking(true).expect("set");
                let peeked = stream.peek(&mut [0]);
                stream.set_nonblocking(false).expect("set");
                peeked.is_ok()
            };
            let upgraded: Vec<usize> = (0..waiting.len()).filter(|&i| has_answer(&waiting[i])).collect();
            (!upgraded.is_empty()).then_some(upgraded)
        });
        for i in upgraded.into_iter().rev() {
            assert_eq!(status(&read_head(&mut waiting.swap_remove(i))), 101);
            served += 1;
        }
    }
    assert_eq!(served, 80);
    client.expect_nothing();
    program.stats_when(|stats| stats.connections == 1 && stats.upgraded == 81);
}

#[test]
fn a_wrong_command_line_is_refused() {
    for arguments in [&["--file-tables", "some"][..], &["--allow-origin", "bench.local"], &["--shards", "many"]] {
        let output = Command::new(PROGRAM).args(arguments).output().expect("it can be started");
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    }
}
