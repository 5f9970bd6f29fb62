//! Progress for people: the live view on a terminal, plain lines on stderr otherwise.
//!
//! Cheap to clone; the controller sets what is shown, the sampler adds what it reads, and the threads that read logs print
//! through it, so that a log line never tears the view.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use c2m_schema::rows::{CoreRow, Phase, SampleRow};

use crate::text::{bytes, count};
pub use crate::view::screen::Controls;
use crate::view::screen::{self, Live};
pub use crate::view::state::Shown;
use crate::view::state::View;

/// Between plain lines of one phase.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Between what the live view is told.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

/// Where progress goes.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nowhere.
    Silent,
    /// Lines on stderr; and once one of the clones has opened it, the live view in their place.
    Spoken(Arc<OnceLock<Live>>),
}

impl Progress {
    /// Plain lines on stderr.
    pub fn plain() -> Self {
        Self::Spoken(Arc::default())
    }

    /// Opens the live view of `experiment`, for all clones, where the terminal can show it.
    pub fn open_view(&self, experiment: &str, controls: Controls) {
        let Self::Spoken(slot) = self else { return };
        if !screen::possible() {
            return;
        }
        match Live::open(View::new(experiment), controls) {
            Ok(live) => drop(slot.set(live)),
            Err(error) => self.line(&format!("no live view, the terminal does not take it: {error:#}")),
        }
    }

    /// The live view, open or closed again; none before it was opened.
    pub fn live(&self) -> Option<&Live> {
        if let Self::Spoken(slot) = self { slot.get() } else { None }
    }

    /// Prints one line.
    pub fn line(&self, text: &str) {
        match (self, self.live()) {
            (Self::Silent, _) => {}
            (_, Some(live)) => live.line(text, false),
            // A closed stderr is no reason to end a run.
            (_, None) => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Prints a line that a child wrote.
    pub fn log(&self, of: impl Display, text: &str) {
        let text = format!("[{of}] {text}");
        match self.live() {
            Some(live) => live.line(&text, true),
            None => self.line(&text),
        }
    }

    /// Takes what the sampler read.
    pub fn sampled(&self, rows: &[SampleRow], cores: &[CoreRow]) {
        if let Some(live) = self.live() {
            live.sampled(rows, cores);
        }
    }

    /// Another repetition begins, with a phase before its processes start.
    pub fn floor(&self, title: &str, clients: u64) {
        if let Some(live) = self.live() {
            live.begin();
            live.shown(Shown { title: title.to_owned(), phase: Phase::Floor, target: clients, ..Shown::default() });
        }
    }

    fn show(&self, shown: Shown) {
        match self.live() {
            Some(live) => live.shown(shown),
            None => self.line(&describe(&shown)),
        }
    }

    /// Closes the live view; its log is printed then, and lines that follow are plain.
    pub fn clear(&self) {
        if let Some(live) = self.live() {
            live.close();
        }
    }
}

/// Closes the live view when it goes, in whatever way.
#[derive(Debug)]
pub(super) struct Closes(pub(super) Progress);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Decides when progress is shown and keeps the rate. Owned by the controller.
#[derive(Debug)]
pub struct Meter {
    progress: Progress,
    phase: Option<Phase>,
    shown_at: Option<Instant>,
    rate_from: (Instant, u64),
    per_s: f64,
}

impl Meter {
    /// A meter for one repetition.
    pub fn new(progress: Progress) -> Self {
        if let Some(live) = progress.live() {
            live.begin();
        }
        Self { progress, phase: None, shown_at: None, rate_from: (Instant::now(), 0), per_s: 0.0 }
    }

    /// Prints one line.
    pub fn line(&self, text: &str) {
        self.progress.line(text);
    }

    /// The live view, for those who have more to tell it.
    pub fn live(&self) -> Option<&Live> {
        self.progress.live()
    }

    /// Whether something is to be shown now: the phase is new or some time has passed.
    pub fn is_due(&self, phase: Phase) -> bool {
        let every = if self.live().is_some() { LIVE_INTERVAL } else { PLAIN_INTERVAL };
        self.phase != Some(phase) || self.shown_at.is_none_or(|at| at.elapsed() >= every)
    }

    /// Shows what is known now.
    pub fn update(&mut self, mut shown: Shown) {
        let now = Instant::now();
        let (from, joined) = self.rate_from;
        let elapsed = now.duration_since(from).as_secs_f64();
        if elapsed >= 1.0 {
            self.per_s = shown.joined.saturating_sub(joined) as f64 / elapsed;
            self.rate_from = (now, shown.joined);
        }
        shown.per_s = self.per_s;
        self.phase = Some(shown.phase);
        self.shown_at = Some(now);
        self.progress.show(shown);
    }
}

fn describe(s: &Shown) -> String {
    let mut text = format!("{} {}: {} of {} clients", s.title, s.phase.name(), count(s.joined), count(s.target));
    if s.lost > 0 {
        let _ = write!(text, ", {} lost", count(s.lost));
    }
    if s.phase == Phase::Ramp && s.per_s > 0.0 {
        let left = s.target.saturating_sub(s.joined + s.lost) as f64 / s.per_s;
        let _ = write!(text, ", {} per second, {left:.0} s to go", count(s.per_s as u64));
    }
    if let Some(rss) = s.server_rss_bytes {
        let _ = write!(text, ", server {}", bytes(rss));
    }
    if s.broadcasts.1 > 0 && matches!(s.phase, Phase::Measure | Phase::Hold) {
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
            phase: Phase::Ramp,
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
