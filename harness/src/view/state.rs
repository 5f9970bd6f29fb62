//! What the live view shows: plain data, changed by what the controller and the sampler know anyway.
//!
//! Times are seconds on the clock of whoever feeds it: since the view was opened, or since the begin of a run that is
//! shown again.

use std::collections::VecDeque;

use c2m_schema::control::ErrorCount;
use c2m_schema::rows::{CoreRow, Phase, SampleRow};

use super::machine::Machine;

/// Points of the chart, at most; then every other is left out.
const POINTS_MAX: usize = 4_096;
/// Lines of the log that are kept, to be printed when the view is closed.
const LOG_LINES_MAX: usize = 500;
/// Broadcasts that are kept.
const BROADCASTS_MAX: usize = 64;

/// What the controller knows at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Which point and repetition, e.g. `point 2/4`.
    pub title: String,
    /// Phase.
    pub phase: Phase,
    /// The turn of the phase, see [`crate::run::wishes`].
    pub turn: u64,
    /// How long the phase is to take, where that is given.
    pub phase_length_s: Option<f64>,
    /// Clients whose connect was begun.
    pub attempted: u64,
    /// Clients joined now.
    pub joined: u64,
    /// Clients that failed or were lost.
    pub lost: u64,
    /// Clients on their way back.
    pub reconnecting: u64,
    /// Clients asked for.
    pub target: u64,
    /// Joins per second of late.
    pub per_s: f64,
    /// First arrival's due time to the moment the counters are of.
    pub counted_s: Option<f64>,
    /// Server's resident memory.
    pub server_rss_bytes: Option<u64>,
    /// Broadcasts complete, of how many.
    pub broadcasts: (u32, u32),
}

/// How far one broadcast came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Sequence in the repetition, from 0.
    pub sequence: u32,
    /// Clients that should have it.
    pub expected: u64,
    /// Those of them that have it.
    pub received: u64,
    /// Due time to delivery, 99th percentile.
    pub p99_ns: Option<u64>,
    /// Due time to last delivery.
    pub last_ns: Option<u64>,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The line.
    pub text: String,
    /// Whether a child wrote it; those are given up first.
    pub of_child: bool,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Name of the experiment.
    pub experiment: String,
    /// The latest of the controller.
    pub now: Shown,
    /// When the phase began.
    pub phase_began_s: f64,
    /// Seconds since the first arrival, clients attempted, clients joined; of this repetition.
    pub series: Vec<(f64, u64, u64)>,
    /// Memory and CPU.
    pub machine: Machine,
    /// Broadcasts of this repetition, in order.
    pub broadcasts: VecDeque<Reached>,
    /// Errors of this repetition: side, kind and code, count.
    pub errors: Vec<(&'static str, ErrorCount)>,
    /// The log, oldest first.
    pub log: VecDeque<LogLine>,
    /// The end of the run was asked for.
    pub stopping: bool,
    /// An answer to the last key.
    pub answer: String,
    /// Whether there is a run whose phases can be ended, or only the record of one.
    pub replayed: bool,
    /// The time that is shown, where it is not the time of whoever looks.
    pub at_s: Option<f64>,
    /// Every other point of the chart is left out this often.
    thinned: u32,
    fed: u64,
    /// Counts changes.
    pub version: u64,
}

impl View {
    /// A view before the first repetition.
    pub fn new(experiment: &str) -> Self {
        Self { experiment: experiment.to_owned(), ..Self::default() }
    }

    /// Another repetition begins.
    pub fn begin(&mut self) {
        self.series.clear();
        (self.thinned, self.fed) = (0, 0);
        self.machine.begin();
        self.broadcasts.clear();
        self.errors.clear();
        self.version += 1;
    }

    /// Takes what the controller knows.
    pub fn shown(&mut self, shown: Shown, now_s: f64) {
        if shown.turn != self.now.turn || shown.phase != self.now.phase || shown.title != self.now.title {
            self.phase_began_s = now_s;
            self.answer.clear();
        }
        // Clients that leave at the end are no part of the story.
        if let Some(at) = shown.counted_s.filter(|_| shown.phase != Phase::Drain) {
            self.point(at, shown.attempted, shown.joined);
        }
        if self.now != shown {
            self.now = shown;
            self.version += 1;
        }
    }

    fn point(&mut self, at: f64, attempted: u64, joined: u64) {
        // Counters that are not newer than the last say nothing new.
        if self.series.last().is_some_and(|last| last.0 >= at) {
            return;
        }
        self.fed += 1;
        if !self.fed.is_multiple_of(1 << self.thinned) {
            return;
        }
        self.series.push((at, attempted, joined));
        if self.series.len() >= POINTS_MAX {
            let mut keep = false;
            self.series.retain(|_| {
                keep = !keep;
                keep
            });
            self.thinned += 1;
        }
    }

    /// Takes what was sampled.
    pub fn sampled(&mut self, rows: &[SampleRow], cores: &[CoreRow]) {
        self.machine.sampled(rows, cores, self.now.joined);
        self.version += 1;
    }

    /// Takes the state of broadcasts, in place of earlier states of the same.
    pub fn reached(&mut self, reached: impl IntoIterator<Item = Reached>) {
        for r in reached {
            if let Some(place) = self.broadcasts.iter_mut().find(|b| b.sequence == r.sequence) {
                *place = r;
            } else {
                if self.broadcasts.len() == BROADCASTS_MAX {
                    self.broadcasts.pop_front();
                }
                let at = self.broadcasts.partition_point(|b| b.sequence < r.sequence);
                self.broadcasts.insert(at, r);
            }
            self.version += 1;
        }
    }

    /// Takes errors: side, kind and code, count. Those of one side with the same kind and code are added up.
    pub fn failed<'a>(&mut self, errors: impl Iterator<Item = (&'static str, &'a ErrorCount)>) {
        let mut sums: Vec<(&'static str, ErrorCount)> = Vec::new();
        for (side, e) in errors {
            match sums.iter_mut().find(|(s, sum)| *s == side && sum.kind == e.kind && sum.code == e.code) {
                Some((_, sum)) => sum.count = sum.count.saturating_add(e.count),
                None => sums.push((side, e.clone())),
            }
        }
        sums.sort_by(|(a_side, a), (b_side, b)| b.count.cmp(&a.count).then_with(|| (a_side, a).cmp(&(b_side, b))));
        if sums != self.errors {
            self.errors = sums;
            self.version += 1;
        }
    }

    /// Takes a line of the log.
    pub fn line(&mut self, text: &str, of_child: bool) {
        if self.log.len() == LOG_LINES_MAX {
            let least = self.log.iter().position(|line| line.of_child).unwrap_or(0);
            self.log.remove(least);
        }
        self.log.extend(text.lines().map(|line| LogLine { text: line.to_owned(), of_child }));
        self.version += 1;
    }

    /// Answers a key.
    pub fn answer(&mut self, text: &str) {
        if self.answer != text {
            text.clone_into(&mut self.answer);
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(counted_s: f64, joined: u64) -> Shown {
        let counted_s = Some(counted_s);
        Shown { phase: Phase::Ramp, attempted: joined, joined, target: 10, counted_s, ..Shown::default() }
    }

    #[test]
    fn a_run_of_days_keeps_its_shape_in_few_points() {
        let mut view = View::new("soak");
        for second in 0..200_000 {
            view.shown(shown(f64::from(second), u64::from(second as u32)), f64::from(second));
        }
        assert!(view.series.len() < POINTS_MAX && view.series.len() > POINTS_MAX / 4, "{}", view.series.len());
        assert!(view.series.windows(2).all(|w| w[0].0 < w[1].0));
        let last = view.series.last().unwrap();
        assert!(last.0 > 199_800.0 && last.2 == last.0 as u64, "{last:?}");
    }

    #[test]
    fn what_is_of_a_repetition_goes_with_it_and_the_log_stays() {
        let mut view = View::new("x");
        view.shown(shown(1.0, 5), 1.0);
        view.reached([Reached { sequence: 1, ..Reached::default() }, Reached::default()]);
        assert_eq!(view.broadcasts.iter().map(|b| b.sequence).collect::<Vec<_>>(), [0, 1]);
        view.failed([("agents", &ErrorCount { kind: "connect".into(), code: 99, count: 3 })].into_iter());
        view.line("said", false);
        view.begin();
        assert!(view.series.is_empty() && view.broadcasts.is_empty() && view.errors.is_empty());
        assert_eq!(view.log.len(), 1);
        view.shown(shown(0.5, 1), 9.0);
        assert_eq!(view.series, [(0.5, 1, 1)], "times begin again");
    }

    #[test]
    fn errors_of_all_agents_add_up_largest_first() {
        let one = |kind: &str, count| ErrorCount { kind: kind.into(), code: 110, count };
        let (a, b, c) = (one("connect", 2), one("join_timeout", 4), one("connect", 3));
        let mut view = View::new("x");
        view.failed([("agents", &a), ("agents", &b), ("agents", &c), ("server", &a)].into_iter());
        let told: Vec<_> = view.errors.iter().map(|(side, e)| (*side, e.kind.as_str(), e.count)).collect();
        assert_eq!(told, [("agents", "connect", 5), ("agents", "join_timeout", 4), ("server", "connect", 2)]);
    }

    #[test]
    fn a_chatty_child_does_not_push_out_what_the_harness_said() {
        let mut view = View::new("x");
        view.line("point 1/2: ok", false);
        for n in 0..2 * LOG_LINES_MAX {
            view.line(&format!("[server] {n}"), true);
        }
        assert_eq!(view.log.len(), LOG_LINES_MAX);
        assert_eq!(view.log[0].text, "point 1/2: ok");
        assert_eq!(view.log.back().unwrap().text, format!("[server] {}", 2 * LOG_LINES_MAX - 1));
    }
}
