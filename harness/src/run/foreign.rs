//! A server that is not c2m-server: any command that, once it says so, serves Phoenix channels.
//!
//! It speaks no control lines. That it is ready is seen in its output or by a request; it is asked to end with SIGTERM, as
//! its whole process group, and killed when it does not. Two threads read its output and one asks for its URL; they end with
//! it.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use c2m_schema::CONTROL_PROTOCOL;
use c2m_schema::control::{AgentCommand, FileTables, ServerEvent, ServerReady};
use rustix::process::{Pid, Signal, kill_process_group};

use super::child::{Child, Foreign, Input, Watched, Who};
use super::process::wait_for_end;
use super::progress::Progress;

/// Between two questions for the URL, and how long an answer may take.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest line of its log that is passed on, in characters.
const LOG_LINE_MAX: usize = 500;

/// The running server; its process group is killed when this is dropped.
pub(super) struct ForeignServer {
    child: std::process::Child,
    group: Option<Pid>,
    /// The threads have no more to do.
    over: Arc<AtomicBool>,
}

/// Says once that the server is ready.
struct Gate {
    said: AtomicBool,
    pid: u32,
    to: Sender<Input>,
}

impl Gate {
    fn open(&self) {
        if self.said.swap(true, Ordering::Relaxed) {
            return;
        }
        let ready = ServerEvent::Ready(ServerReady {
            engine: None,
            clients_max: 0,
            read_buffer_bytes: 0,
            protocol: CONTROL_PROTOCOL,
            version: String::new(),
            pid: self.pid,
            address: String::new(),
            shards: 0,
            file_tables: FileTables::Shared,
            nofile: 0,
            idle_timeout_s: 0,
            max_message_bytes: 0,
            check_origin: false,
        });
        let line = serde_json::to_string(&ready).expect("a plain struct is JSON");
        // Nobody listens any more when the repetition is over.
        let _ = self.to.send(Input::Line(Who::Server, line));
    }
}

impl ForeignServer {
    /// Starts the command.
    pub(super) fn start(foreign: &Foreign, to: Sender<Input>, progress: &Progress) -> anyhow::Result<Self> {
        let (program, args) = foreign.command.split_first().context("server.command is empty")?;
        let mut command = Command::new(program);
        command.args(args).envs(&foreign.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &foreign.dir {
            command.current_dir(dir);
        }
        let started = command.process_group(0).spawn();
        let mut child = started.with_context(|| {
            let dir = foreign.dir.as_ref().map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
            format!("server.command: start {}{dir}", foreign.command.join(" "))
        })?;
        let pid = child.id();
        let gate = Arc::new(Gate { said: AtomicBool::new(false), pid, to: to.clone() });
        let over = Arc::new(AtomicBool::new(false));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let server = Self { child, group, over: Arc::clone(&over) };
        let url = foreign.ready.strip_prefix("http://").map(str::to_owned);
        let text = url.is_none().then(|| foreign.ready.clone());
        let log = |name: &str, stream: Box<dyn io::Read + Send>| {
            let (gate, text, progress) = (Arc::clone(&gate), text.clone(), progress.clone());
            let lines = move || pass_log(BufReader::new(stream), text.as_deref(), &gate, &progress);
            std::thread::Builder::new().name(format!("server {name}")).spawn(lines)
        };
        let mut logs = Vec::new();
        logs.extend(stdout.map(|s| log("output", Box::new(s))).transpose()?);
        logs.extend(stderr.map(|s| log("errors", Box::new(s))).transpose()?);
        if let Some(url) = url {
            let over = Arc::clone(&over);
            std::thread::Builder::new().name("server ready".into()).spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if answers(&url).is_ok_and(|yes| yes) {
                        return gate.open();
                    }
                    std::thread::sleep(ASK_INTERVAL);
                }
            })?;
        }
        std::thread::Builder::new().name("server end".into()).spawn(move || {
            let end = wait_for_end(pid);
            over.store(true, Ordering::Relaxed);
            // What it started may hold its output open, which its end does not wait for.
            let last = logs
                .into_iter()
                .filter(std::thread::JoinHandle::is_finished)
                .filter_map(|log| log.join().ok().flatten());
            let last: Vec<String> = last.collect();
            let log = if last.is_empty() { String::new() } else { format!("; last of its log: {}", last.join(" | ")) };
            // Nobody listens any more when the repetition is over.
            let _ = to.send(Input::Exited(Who::Server, format!("{end}{log}")));
        })?;
        Ok(server)
    }
}

/// Passes a log on, looks for the text by which the server is ready, and gives the last line.
fn pass_log(mut stream: impl BufRead, ready: Option<&str>, gate: &Gate, progress: &Progress) -> Option<String> {
    let (mut line, mut last) = (Vec::new(), None);
    while matches!(stream.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if ready.is_some_and(|ready| text.contains(ready)) {
            gate.open();
        }
        let text: String = text.chars().take(LOG_LINE_MAX).collect();
        progress.log(Who::Server, &text);
        last = Some(text);
        line.clear();
    }
    last
}

/// Whether `host:port/path` answers a GET with 2xx.
fn answers(url: &str) -> io::Result<bool> {
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; "HTTP/1.1 2".len()];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 2"))
}

impl Child for ForeignServer {
    fn watched(&self) -> Option<Watched> {
        Some(Watched::Tree(self.child.id()))
    }

    fn send(&mut self, _: &AgentCommand) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn close_stdin(&mut self) {
        if let Some(group) = self.group {
            // It may have ended already.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // The leader is not reaped yet, so the group's number is still its own.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
