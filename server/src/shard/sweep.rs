//! Timeouts without a timer per client: a sweep over all connections, a few pages per turn of the loop, that notes when
//! the next one could find anything. With heartbeats every 30 s and a timeout of 60 s that is once in about 30 s.
//!
//! Times are whole seconds, so a timeout of N seconds strikes after N to N + 2.

use super::Shard;
use super::connection::{Connection, State};
use crate::config::Config;
use crate::stats::kind;

/// Pages looked at in one turn; each of the slab's pages holds 255 connections.
const PAGES_PER_TURN: usize = 32;
/// How long a client may take to close after the last word to it.
pub(crate) const LINGER_S: u32 = 2;

/// Where the sweep stands.
#[derive(Default)]
pub(crate) struct Sweep {
    /// The page that is next, while a sweep is under way.
    page: Option<usize>,
    /// When the next sweep is due, in seconds since the server's start.
    due_s: Option<u32>,
    expired: Vec<u32>,
}

impl Sweep {
    pub(crate) fn is_running(&self) -> bool {
        self.page.is_some()
    }

    pub(crate) fn due_s(&self) -> Option<u32> {
        self.due_s
    }

    /// A connection may time out `timeout_s` seconds after `since_s`.
    pub(crate) fn expect(&mut self, since_s: u32, timeout_s: u32) {
        let at_s = since_s + timeout_s + 1;
        self.due_s = Some(self.due_s.map_or(at_s, |due_s| due_s.min(at_s)));
    }
}

/// The timeout that counts for a connection; none: it may stay as it is.
fn timeout_s(connection: &Connection, config: &Config) -> Option<u32> {
    match connection.state {
        State::Handshake => Some(config.handshake_timeout_s),
        State::Phoenix(_) | State::Echo => (config.idle_timeout_s > 0).then_some(config.idle_timeout_s),
        State::Closing => Some(LINGER_S),
    }
}

impl Shard {
    /// Looks at some connections when a sweep is under way or due.
    pub(crate) fn sweep_step(&mut self) {
        if self.sweep.page.is_none() {
            if self.sweep.due_s.is_none_or(|due_s| self.now_s < due_s) {
                return;
            }
            self.sweep.due_s = None;
            self.sweep.page = Some(0);
        }
        let Some(first) = self.sweep.page else { return };
        let last = (first + PAGES_PER_TURN).min(self.connections.pages());
        for page in first..last {
            for (index, connection) in self.connections.page(page) {
                let Some(timeout_s) = timeout_s(connection, &self.shared.config) else { continue };
                if self.now_s.saturating_sub(connection.last_seen_s) > timeout_s {
                    self.sweep.expired.push(index);
                } else {
                    self.sweep.expect(connection.last_seen_s, timeout_s);
                }
            }
        }
        self.sweep.page = (last < self.connections.pages()).then_some(last);
        for index in std::mem::take(&mut self.sweep.expired) {
            self.expire(index);
        }
    }

    fn expire(&mut self, index: u32) {
        match self.connections.get(index).map(|connection| connection.state) {
            Some(State::Handshake) => {
                self.stats().count_error(kind::HANDSHAKE_TIMEOUT, 0);
                self.remove(index);
            }
            Some(State::Phoenix(_) | State::Echo) => {
                let code = self.shared.config.manners.idle_close_code();
                self.stats().count_error(kind::IDLE_TIMEOUT, i64::from(code));
                self.close(index, Some(code), "idle timeout");
            }
            Some(State::Closing) => {
                self.stats().count_error(kind::CLOSE_TIMEOUT, 0);
                self.remove(index);
            }
            None => {}
        }
    }
}
