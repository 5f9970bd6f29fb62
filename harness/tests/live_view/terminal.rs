//! A pseudo-terminal with a program in it, and the screen that a person would see.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use pty_process::blocking::{Command, Pty};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, tcgetattr};

use super::live::{Bench, DEADLINE};

pub(crate) struct Terminal {
    pty: Pty,
    /// Kept open, so that what the program wrote last can be read when it has ended.
    _own_end: OwnedFd,
    child: Child,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    saw_alternate_screen: bool,
}

const ENTER_ALTERNATE_SCREEN: &[u8] = b"\x1b[?1049h";

impl Terminal {
    /// `c2m run` of a definition, on a terminal of this many rows and columns.
    pub(crate) fn start(bench: &Bench, experiment: &Path, size: (u16, u16), variables: &[(&str, &str)]) -> Self {
        Self::with_flags(bench, experiment, size, variables, &[])
    }

    pub(crate) fn with_flags(
        bench: &Bench,
        experiment: &Path,
        size: (u16, u16),
        variables: &[(&str, &str)],
        flags: &[&str],
    ) -> Self {
        let results = bench.results();
        let command = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("run").arg(experiment).arg("--results").arg(results);
        Self::spawn(command.args(flags), size, variables)
    }

    /// `c2m replay` of a run, as fast as it can be seen.
    pub(crate) fn replay(run: &Path, size: (u16, u16)) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_c2m")).arg("replay").arg(run).args(["--speed", "15"]);
        Self::spawn(command, size, &[])
    }

    /// Another test of this program, by its name.
    pub(crate) fn of_test(name: &str, size: (u16, u16)) -> Self {
        let own = std::env::current_exe().expect("this program");
        Self::spawn(Command::new(own).args(["--ignored", "--exact", "--nocapture", name]), size, &[])
    }

    fn spawn(command: Command, size: (u16, u16), variables: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(size.0, size.1)).expect("resize");
        let command = command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(variables.iter().copied());
        let child = command.spawn(pts).expect("c2m starts");
        let name = rustix::pty::ptsname(&pty, Vec::new()).expect("name of the terminal");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own_end = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("open");
        let mut reader = std::fs::File::from(rustix::io::dup(&pty).expect("dup"));
        let (to, output) = mpsc::channel();
        // Ends with the terminal, which is when the test does.
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 || to.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let parser = vt100::Parser::new(cells(size.0), cells(size.1), 0);
        Self { pty, _own_end: own_end, child, output, parser, saw_alternate_screen: false }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = std::fs::read_to_string(path).expect("children of the harness");
        text.split_whitespace().map(|pid| pid.parse().expect("pid")).collect()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).expect("press");
    }

    pub(crate) fn resize(&mut self, (rows, columns): (u16, u16)) {
        self.parser.screen_mut().set_size(cells(rows), cells(columns));
        self.pty.resize(pty_process::Size::new(rows, columns)).expect("resize");
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// What is on the screen, with lines that were broken at its edge joined again.
    pub(crate) fn joined_lines(&self) -> String {
        self.text().replace('\n', "")
    }

    pub(crate) fn has_colors(&self) -> bool {
        let (screen, (rows, columns)) = (self.parser.screen(), self.parser.screen().size());
        let all = (0..rows.get()).flat_map(|r| (0..columns.get()).map(move |c| (r, c)));
        let plain =
            |cell: &vt100::Cell| (cell.fgcolor(), cell.bgcolor()) == (vt100::Color::Default, vt100::Color::Default);
        all.filter_map(|(r, c)| screen.cell(r, c)).any(|cell| !plain(cell))
    }

    pub(crate) fn saw_alternate_screen(&self) -> bool {
        self.saw_alternate_screen
    }

    /// Whether the terminal edits and echoes lines itself, as shells expect it to.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.pty).expect("modes of the terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    pub(crate) fn until_shows(&mut self, texts: &[&str]) {
        self.until(&format!("{texts:?}"), |screen| {
            let contents = screen.contents();
            texts.iter().all(|text| contents.contains(text))
        });
    }

    /// Reads until the screen is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !wanted(self.parser.screen()) {
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take(&bytes),
                Err(why) => panic!("{what}: not on the screen ({why}):\n{}", self.text()),
            }
        }
    }

    /// Reads until the program has ended.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            let ended = self.child.try_wait().expect("wait");
            match self.output.recv_timeout(std::time::Duration::from_millis(50)) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => {
                    // It wrote nothing after its end.
                    if let Some(status) = ended {
                        return status;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the terminal is gone"),
            }
            assert!(Instant::now() < until, "the run does not end:\n{}", self.text());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.saw_alternate_screen |= bytes.windows(ENTER_ALTERNATE_SCREEN.len()).any(|w| w == ENTER_ALTERNATE_SCREEN);
        self.parser.process(bytes);
    }

    pub(crate) fn assert_given_back(&self) {
        let screen = self.parser.screen();
        assert!(self.saw_alternate_screen, "the view was there");
        assert!(!screen.alternate_screen(), "the normal screen is back:\n{}", self.text());
        assert!(!screen.hide_cursor(), "the cursor is back");
        assert!(self.is_cooked(), "the terminal edits lines again");
    }
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("a terminal has cells")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only a test that failed leaves it running; its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
