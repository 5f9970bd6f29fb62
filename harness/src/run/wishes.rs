//! What the person at the terminal wishes: that a phase ends now, or the run.
//!
//! Set by the thread that reads keys, looked at by the controller. Every phase has a number of its own, its turn, so that
//! a key that was meant for one phase never ends the next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use c2m_schema::rows::Phase;

/// Wishes, and the turns they are of.
#[derive(Debug, Default)]
pub struct Wishes {
    turns: AtomicU64,
    end_of: AtomicU64,
    quit: AtomicBool,
}

impl Wishes {
    /// A phase begins: gives its turn, from 1.
    pub fn begin(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The phase of this turn shall end.
    pub fn end(&self, turn: u64) {
        self.end_of.store(turn, Ordering::Relaxed);
    }

    /// Whether the phase of this turn shall end.
    pub fn ends(&self, turn: u64) -> bool {
        turn > 0 && self.end_of.load(Ordering::Relaxed) == turn
    }

    /// The run shall end in order.
    pub fn quit(&self) {
        self.quit.store(true, Ordering::Relaxed);
    }

    /// Whether it was a key that asked for the end of the run.
    pub fn quits(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }
}

/// Whether a person may end the phase early: only where time passes for its own sake. A ramp or a measurement that is cut
/// off has no figures; that is what stopping the run is for.
pub fn may_end(phase: Phase) -> bool {
    matches!(phase, Phase::Settle | Phase::Hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_the_phase_it_was_meant_for_and_no_other() {
        let wishes = Wishes::default();
        assert!(!wishes.ends(0), "nothing was asked and nothing has begun");
        let (settle, hold) = (wishes.begin(), wishes.begin());
        wishes.end(settle);
        assert!(wishes.ends(settle) && !wishes.ends(hold));
    }
}
