//! The drain: no new connections, close frames out to all in bounded steps, a deadline, the end of the shard.

use super::Shard;
use super::connection::State;
use crate::shared::Phase;

/// Close code "service restart" (IANA registry), after which phoenix.js reconnects; as Phoenix on shutdown.
pub(crate) const DRAIN_CLOSE_CODE: u16 = 1012;
/// Pages closed in one turn of the loop; each of the slab's pages holds 255 connections.
const PAGES_PER_TURN: usize = 4;

/// A drain under way.
pub(crate) struct Drain {
    pub(crate) deadline_ns: u64,
    page: usize,
    is_running: bool,
    ended: Ended,
}

/// How a shard's connections ended in the drain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    /// After a close frame, before the deadline.
    pub(crate) closed: u64,
    /// At the deadline.
    pub(crate) cut: u64,
}

impl Drain {
    /// Whether close frames are still to be sent.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    /// A connection ended in `state`.
    pub(crate) fn ended(&mut self, state: State) {
        self.ended.closed += u64::from(state == State::Closing);
    }
}

impl Shard {
    /// Begins a drain when the server's phase says so, and goes on with one. Gives the result when it is over.
    pub(crate) fn drain_step(&mut self) -> Option<Ended> {
        if self.drain.is_none() {
            let Phase::Draining { deadline_ns } = self.shared.phase() else { return None };
            self.acceptor.close();
            self.drain = Some(Drain { deadline_ns, page: 0, is_running: true, ended: Ended::default() });
        }
        self.drain_pages();
        let drain = self.drain.as_ref()?;
        if self.connections.is_empty() {
            return Some(drain.ended);
        }
        if self.now_ns < drain.deadline_ns {
            return None;
        }
        let mut ended = drain.ended;
        ended.cut = self.connections.len() as u64;
        self.counters.connections = 0;
        self.counters.joined = 0;
        self.counters.queued = 0;
        Some(ended)
    }

    fn drain_pages(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        if !drain.is_running {
            return;
        }
        let first = drain.page;
        let last = (first + PAGES_PER_TURN).min(self.connections.pages());
        drain.page = last;
        drain.is_running = last < self.connections.pages();
        let indices: Vec<u32> =
            (first..last).flat_map(|page| self.connections.page(page)).map(|(index, _)| index).collect();
        for index in indices {
            match self.connections.get(index).map(|connection| connection.state) {
                Some(State::Handshake) => self.remove(index),
                Some(State::Phoenix(_) | State::Echo) => self.close(index, Some(DRAIN_CLOSE_CODE), ""),
                Some(State::Closing) | None => {}
            }
        }
    }
}
