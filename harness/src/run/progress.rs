//! Progress for people, on stderr: a line that is redrawn on a terminal, plain lines otherwise.
//!
//! Cheap to clone; the controller sets what is shown and the threads that read logs print through it, so that a log line
//! never tears the progress line.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::{bytes, count};

/// Between plain lines of one phase.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Where progress goes.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nowhere.
    Silent,
    /// Lines on stderr.
    Plain,
    /// A redrawn line on a terminal.
    Terminal(ProgressBar),
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Which point and repetition, e.g. `2/4`.
    pub title: String,
    /// Phase.
    pub phase: &'static str,
    /// Clients joined.
    pub joined: u64,
    /// Clients that failed or were lost.
    pub lost: u64,
    /// Clients asked for.
    pub target: u64,
    /// Joins per second of late.
    pub per_s: f64,
    /// Server's resident memory.
    pub server_rss_bytes: Option<u64>,
    /// Broadcasts complete, of how many.
    pub broadcasts: (u32, u32),
}

impl Progress {
    /// A terminal line when stderr is one and `tui` allows it, else plain lines.
    pub fn new(tui: bool) -> Self {
        if !tui || !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
            bar.set_style(style);
        }
        Self::Terminal(bar)
    }

    /// Prints one line.
    pub fn line(&self, text: &str) {
        match self {
            Self::Silent => {}
            // A closed stderr is no reason to end a run.
            Self::Plain => drop(writeln!(std::io::stderr(), "{text}")),
            Self::Terminal(bar) => bar.suspend(|| drop(writeln!(std::io::stderr(), "{text}"))),
        }
    }

    fn show(&self, shown: &Shown) {
        match self {
            Self::Silent => {}
            Self::Plain => self.line(&describe(shown)),
            Self::Terminal(bar) => {
                bar.set_length(shown.target.max(1));
                bar.set_position(shown.joined);
                bar.set_message(describe(shown));
            }
        }
    }

    /// Removes the redrawn line.
    pub fn clear(&self) {
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
            // Lines that follow must not bring it back.
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// Decides when progress is shown and keeps the rate. Owned by the controller.
#[derive(Debug)]
pub struct Meter {
    progress: Progress,
    phase: &'static str,
    shown_at: Option<Instant>,
    rate_from: (Instant, u64),
    per_s: f64,
}

impl Meter {
    /// A meter for one repetition.
    pub fn new(progress: Progress) -> Self {
        Self { progress, phase: "", shown_at: None, rate_from: (Instant::now(), 0), per_s: 0.0 }
    }

    /// Prints one line.
    pub fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// Takes what is known now; shows it when the phase is new or some time has passed.
    pub fn update(&mut self, mut shown: Shown) {
        let now = Instant::now();
        let (from, joined) = self.rate_from;
        let elapsed = now.duration_since(from).as_secs_f64();
        if elapsed >= 1.0 {
            self.per_s = shown.joined.saturating_sub(joined) as f64 / elapsed;
            self.rate_from = (now, shown.joined);
        }
        shown.per_s = self.per_s;
        let every =
            if matches!(self.progress, Progress::Terminal(_)) { Duration::from_millis(200) } else { PLAIN_INTERVAL };
        if shown.phase == self.phase && self.shown_at.is_some_and(|at| now.duration_since(at) < every) {
            return;
        }
        self.phase = shown.phase;
        self.shown_at = Some(now);
        self.progress.show(&shown);
    }
}

fn describe(s: &Shown) -> String {
    let mut text = format!("{} {}: {} of {} clients", s.title, s.phase, count(s.joined), count(s.target));
    if s.lost > 0 {
        let _ = write!(text, ", {} lost", count(s.lost));
    }
    if s.phase == "ramp" && s.per_s > 0.0 {
        let left = s.target.saturating_sub(s.joined + s.lost) as f64 / s.per_s;
        let _ = write!(text, ", {} per second, {left:.0} s to go", count(s.per_s as u64));
    }
    if let Some(rss) = s.server_rss_bytes {
        let _ = write!(text, ", server {}", bytes(rss));
    }
    if s.broadcasts.1 > 0 && matches!(s.phase, "measure" | "hold") {
        let _ = write!(text, ", {} of {} broadcasts", s.broadcasts.0, s.broadcasts.1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_phase_clients_rate_memory_and_time_left() {
        let shown = Shown {
            title: "point 1/1".into(),
            phase: "ramp",
            joined: 2_500,
            target: 10_000,
            per_s: 1_500.0,
            server_rss_bytes: Some(3_145_728),
            ..Shown::default()
        };
        let text = describe(&shown);
        assert_eq!(text, "point 1/1 ramp: 2 500 of 10 000 clients, 1 500 per second, 5 s to go, server 3.0 MiB");
    }
}
