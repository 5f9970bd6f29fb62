//! Children that are processes of this machine.
//!
//! Two threads a child, which own its output: one passes its log on and keeps the last lines, one hands the lines of its
//! standard output to the controller and says at the end how it ended. They end with the child. A child is its own
//! process group, so that Ctrl-C on the terminal reaches the harness alone and the order of the end is the harness's.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;

use anyhow::Context as _;
use c2m_host::root::ProcRoot;
use c2m_schema::control::{AgentCommand, write_line};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::child::{Child, Input, Launch, ServerSpec, Watched, Who};
use super::foreign::ForeignServer;
use super::progress::Progress;

/// Lines of a child's log that stay for the reason of its end.
const LOG_LINES_KEPT: usize = 5;
/// Longest line of a log that is kept and passed on, in bytes.
const LOG_LINE_BYTES_MAX: usize = 2_000;

/// The programs of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    server: PathBuf,
    loadgen: PathBuf,
}

impl Binaries {
    /// Environment variable that names the folder of the programs.
    pub const ENV: &'static str = "C2M_BIN_DIR";

    /// Finds the programs in `dir`, else in `$C2M_BIN_DIR`, else beside this program.
    pub fn find(dir: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match (dir, std::env::var_os(Self::ENV)) {
            (Some(dir), _) => dir.to_owned(),
            (None, Some(dir)) => PathBuf::from(dir),
            (None, None) => {
                let exe = std::env::current_exe().context("where this program is")?;
                exe.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        let program = |name: &str| {
            let path = dir.join(name);
            anyhow::ensure!(
                path.is_file(),
                "{name} is not in {}: build it (`cargo build --release`), or name its folder with --bin-dir or ${}",
                dir.display(),
                Self::ENV
            );
            anyhow::ensure!(
                rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok(),
                "{} can't be executed: build it again, or `chmod +x` it; a file system mounted with noexec holds no programs",
                path.display()
            );
            path.canonicalize().with_context(|| format!("path of {name}"))
        };
        Ok(Self { server: program("c2m-server")?, loadgen: program("c2m-loadgen")? })
    }
}

/// Starts processes.
#[derive(Debug)]
pub struct Processes {
    /// The programs.
    pub binaries: Binaries,
    /// Where their logs go.
    pub progress: Progress,
    /// Whether they live in a network namespace of their own.
    pub netns: bool,
}

impl Launch for Processes {
    fn server(&mut self, spec: &ServerSpec, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        start_server(&self.binaries, spec, to, &self.progress)
    }

    /// In a namespace of its own the server's port is taken out of the ephemeral range, so that no client can connect to
    /// itself. On the host's network the agent warns instead: nothing of the host is changed.
    fn listens(&mut self, address: &str) {
        let Some(port) = address.parse::<SocketAddr>().ok().map(|a| a.port()).filter(|_| self.netns) else { return };
        let reserved = ProcRoot::default().write_sysctl("net.ipv4.ip_local_reserved_ports", &port.to_string());
        if let Err(error) = reserved {
            self.progress.line(&format!("the server's port {port} could not be reserved: {error}"));
        }
    }

    fn agent(&mut self, index: usize, to: Sender<Input>) -> anyhow::Result<Box<dyn Child>> {
        start_agent(&self.binaries, index, to, &self.progress)
    }
}

/// Starts the server that `spec` asks for.
pub fn start_server(
    binaries: &Binaries,
    spec: &ServerSpec,
    to: Sender<Input>,
    progress: &Progress,
) -> anyhow::Result<Box<dyn Child>> {
    Ok(match &spec.foreign {
        Some(foreign) => Box::new(ForeignServer::start(foreign, to, progress)?),
        None => Box::new(Process::start(&binaries.server, spec.args(), Who::Server, to, progress)?),
    })
}

/// Starts the agent of this index.
pub fn start_agent(
    binaries: &Binaries,
    index: usize,
    to: Sender<Input>,
    progress: &Progress,
) -> anyhow::Result<Box<dyn Child>> {
    Ok(Box::new(Process::start(&binaries.loadgen, ["agent"], Who::Agent(index), to, progress)?))
}

/// A running process; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: std::process::Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` with pipes for its three streams.
    pub fn start(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        who: Who,
        to: Sender<Input>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("start {who} ({})", program.display()))?;
        let stdin = child.stdin.take();
        let mut process = Self { child, stdin };
        let (stdout, stderr) = (process.child.stdout.take(), process.child.stderr.take());
        let progress = progress.clone();
        let log = std::thread::Builder::new()
            .name(format!("{who} log"))
            .spawn(move || stderr.map(|s| pass_log(who, BufReader::new(s), &progress)).unwrap_or_default())?;
        let pid = process.child.id();
        std::thread::Builder::new().name(format!("{who} lines")).spawn(move || {
            if let Some(stdout) = stdout {
                pass_lines(who, BufReader::new(stdout), &to);
            }
            let end = wait_for_end(pid);
            let last = log.join().unwrap_or_default();
            let log = if last.is_empty() { String::new() } else { format!("; last of its log: {}", last.join(" | ")) };
            // Nobody listens any more when the repetition is over, and nobody needs to.
            let _ = to.send(Input::Exited(who, format!("{end}{log}")));
        })?;
        Ok(process)
    }
}

impl Child for Process {
    fn watched(&self) -> Option<Watched> {
        Some(Watched::Process(self.child.id()))
    }

    fn send(&mut self, command: &AgentCommand) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        write_line(stdin, command)
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        // Only the child of this handle, which is not yet reaped: killing it when it has ended is harmless.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_lines(who: Who, mut stdout: impl io::BufRead, to: &Sender<Input>) {
    let mut line = String::new();
    // What is not UTF-8 ends the conversation as the end of file does.
    while matches!(stdout.read_line(&mut line), Ok(n) if n > 0) {
        if to.send(Input::Line(who, line.trim_end().to_owned())).is_err() {
            return;
        }
        line.clear();
    }
}

fn pass_log(who: Who, mut stderr: impl io::BufRead, progress: &Progress) -> Vec<String> {
    let mut kept = VecDeque::new();
    let mut line = Vec::new();
    while matches!(stderr.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        line.truncate(LOG_LINE_BYTES_MAX);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        progress.log(who, &text);
        if kept.len() == LOG_LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(text);
        line.clear();
    }
    kept.into()
}

/// Waits until the process has ended and leaves it to its handle to reap it, so that its id stays its own.
pub(super) fn wait_for_end(pid: u32) -> String {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return "ended".into() };
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => return describe(&status),
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return "ended".into(),
        }
    }
}

fn describe(status: &WaitIdStatus) -> String {
    if let Some(code) = status.exit_status() {
        return format!("exit status {code}");
    }
    match status.terminating_signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => "ended".into(),
    }
}
