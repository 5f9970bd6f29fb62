//! The connection to one far end: its process (of whatever command reaches the host), a thread that reads what it says,
//! and what is known of it. The thread ends with the process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use c2m_host::clock::monotonic_ns;
use c2m_schema::control::write_line;
use c2m_schema::rows::{CoreRow, SampleRow};

use super::clock::{Exchange, Offset, estimate};
use super::hosts::HostSpec;
use super::wire::{Ask, Hello, PROTOCOL, Program, Say};
use crate::run::child::{Input, Who};
use crate::run::progress::Progress;

/// From the start of the command to the far end's first line; a login may take its time.
const HELLO_MAX: Duration = Duration::from_mins(1);
/// A far end answers every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Exchanges of one estimate, and how long they may take together.
const EXCHANGES: usize = 16;
const ESTIMATE_MAX: Duration = Duration::from_secs(5);

/// A sample as the far end sent it.
pub(super) type Sample = (u64, Vec<SampleRow>, Vec<CoreRow>);

/// One far end.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) hello: Hello,
    child: Mutex<std::process::Child>,
    stdin: Mutex<Option<ChildStdin>>,
    state: Arc<Mutex<State>>,
    samples: Mutex<Receiver<Sample>>,
    clocks: Mutex<Receiver<Exchange>>,
}

struct State {
    heard: Instant,
    /// Children that have not ended, and who wants to hear of them.
    children: HashMap<u64, (Who, Sender<Input>)>,
    /// Why nothing comes any more.
    lost: Option<String>,
}

impl State {
    /// Nothing will come any more: every child is lost with the host.
    fn lose(&mut self, name: &str, reason: &str) {
        if self.lost.is_none() {
            self.lost = Some(reason.to_owned());
            for (_, (who, to)) in self.children.drain() {
                // Nobody listens any more when the repetition is over.
                let _ = to.send(Input::Exited(who, format!("host {name}: {reason}")));
            }
        }
    }
}

struct Reader {
    name: String,
    state: Arc<Mutex<State>>,
    samples: Sender<Sample>,
    clocks: Sender<Exchange>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Reaches the host. Fails when its far end does not come up, or is of another revision than this harness.
    pub(super) fn open(spec: &HostSpec, program: &str, progress: &Progress) -> anyhow::Result<Self> {
        let name = &spec.name;
        let words: Vec<&str> = spec.command.0.iter().map(String::as_str).chain([program, "host"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.process_group(0).spawn();
        let mut child = started.with_context(|| format!("host {name}: start {}", words.join(" ")))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let log = progress.clone();
        let of_host = name.clone();
        std::thread::Builder::new().name(format!("{name} log")).spawn(move || {
            for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')).map_while(Result::ok)
            {
                log.log(&of_host, String::from_utf8_lossy(&line).trim_end());
            }
        })?;
        let (first, hello) = mpsc::channel();
        let state = State { heard: Instant::now(), children: HashMap::new(), lost: None };
        let state = Arc::new(Mutex::new(state));
        let (samples, samples_in) = mpsc::channel();
        let (clocks, clocks_in) = mpsc::channel();
        let reader = Reader { name: name.clone(), state: Arc::clone(&state), samples, clocks };
        let lines = BufReader::new(stdout.context("a pipe that was asked for")?);
        std::thread::Builder::new().name(format!("{name} lines")).spawn(move || reader.run(lines, &first))?;
        let mut link = Self {
            name: name.clone(),
            hello: Hello::default(),
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            state,
            samples: Mutex::new(samples_in),
            clocks: Mutex::new(clocks_in),
        };
        let Ok(hello) = hello.recv_timeout(HELLO_MAX) else {
            let reason =
                lock(&link.state).lost.clone().unwrap_or_else(|| format!("no answer in {} s", HELLO_MAX.as_secs()));
            bail!("host {name}: {} gave no sign: {reason}; try it by hand", words.join(" "));
        };
        link.hello = hello;
        let (here, there) = (env!("C2M_GIT"), &link.hello.git);
        if link.hello.protocol != PROTOCOL || here != there {
            bail!(
                "host {name}: its c2m is of revision {there}, this one of {here}: copy the programs of one build to all hosts"
            );
        }
        Ok(link)
    }

    /// Asks the far end for something. Fails when it is lost.
    pub(super) fn ask(&self, ask: &Ask) -> std::io::Result<()> {
        let mut stdin = lock(&self.stdin);
        write_line(stdin.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?, ask)
    }

    /// Starts a child, of which `to` hears.
    pub(super) fn start(&self, child: u64, program: Program, to: Sender<Input>) -> anyhow::Result<()> {
        let who = program.who();
        let mut state = lock(&self.state);
        if let Some(reason) = &state.lost {
            bail!("host {}: {reason}", self.name);
        }
        state.children.insert(child, (who, to));
        drop(state);
        self.ask(&Ask::Start { child, program }).with_context(|| format!("host {}: start {who}", self.name))
    }

    /// Ends a child at once, and hears no more of it.
    pub(super) fn kill(&self, child: u64) {
        if lock(&self.state).children.remove(&child).is_some() {
            // A host that can't be told has lost the child already.
            let _ = self.ask(&Ask::Kill { child });
        }
    }

    /// Why the host is lost, if it is; it is when nothing came from it for a while.
    pub(super) fn lost(&self) -> Option<String> {
        let mut state = lock(&self.state);
        if state.lost.is_none() && state.heard.elapsed() > SILENCE_MAX {
            state.lose(&self.name, &format!("silent for {} s", SILENCE_MAX.as_secs()));
            // The far end ends by itself when it hears nothing.
            let _ = lock(&self.child).kill();
        }
        state.lost.clone()
    }

    /// The answer to `Read { id }`, if it comes in time.
    pub(super) fn sample(&self, id: u64, until: Instant) -> Option<Sample> {
        let samples = lock(&self.samples);
        loop {
            let sample = samples.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            // Older ones were given up before.
            if sample.0 == id {
                return Some(sample);
            }
        }
    }

    /// Its clock against this one. Fails when it does not answer.
    pub(super) fn clock(&self) -> anyhow::Result<Offset> {
        let clocks = lock(&self.clocks);
        while clocks.try_recv().is_ok() {}
        let until = Instant::now() + ESTIMATE_MAX;
        let mut exchanges = Vec::with_capacity(EXCHANGES);
        while exchanges.len() < EXCHANGES {
            if self.ask(&Ask::Clock { asked_ns: monotonic_ns() }).is_err() {
                break;
            }
            match clocks.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(exchange) => exchanges.push(exchange),
                Err(_) => break,
            }
        }
        estimate(&exchanges).with_context(|| format!("host {}: does not say what its clock shows", self.name))
    }
}

impl Drop for Link {
    /// The far end ends with its standard input; what reaches it is waited for a little, then killed.
    fn drop(&mut self) {
        *lock(&self.stdin) = None;
        let until = Instant::now() + SILENCE_MAX;
        let mut child = lock(&self.child);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Reader {
    fn run(self, lines: impl BufRead, hello: &Sender<Hello>) {
        let mut reason = "its far end ended".to_owned();
        for line in lines.lines() {
            let said = line
                .map_err(|e| e.to_string())
                .and_then(|l| serde_json::from_str(&l).map_err(|e| format!("{e}: {l:.120}")));
            match said {
                Ok(say) => self.take(say, hello),
                Err(error) => {
                    reason = format!("wrote what is no line of a fleet ({error})");
                    break;
                }
            }
        }
        lock(&self.state).lose(&self.name, &reason);
    }

    fn take(&self, say: Say, hello: &Sender<Hello>) {
        let answered_ns = monotonic_ns();
        let mut state = lock(&self.state);
        state.heard = Instant::now();
        // Whoever asked may have given up meanwhile.
        let _ = match say {
            Say::Hello(said) => hello.send(*said).ok(),
            Say::Line { child, line } => {
                state.children.get(&child).and_then(|(who, to)| to.send(Input::Line(*who, line)).ok())
            }
            Say::Exited { child, how } | Say::NotStarted { child, reason: how } => {
                state.children.remove(&child).and_then(|(who, to)| to.send(Input::Exited(who, how)).ok())
            }
            Say::Rows { id, rows, cores } => self.samples.send((id, rows, cores)).ok(),
            Say::Clock { asked_ns, at_ns: other_ns } => {
                self.clocks.send(Exchange { asked_ns, other_ns, answered_ns }).ok()
            }
        };
    }
}
