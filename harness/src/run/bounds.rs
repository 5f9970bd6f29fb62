//! How long each wait of a repetition may take. Pure.

use std::time::Duration;

use crate::experiment::Experiment;
use crate::plan::Point;

/// Longest waits. Each only ends what has failed: nothing waits for one of them to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Start of the server to its `ready` line.
    pub ready: Duration,
    /// An answer of an agent: `hello`, `prepared`, `probed`.
    pub answer: Duration,
    /// The ramp in all.
    pub ramp: Duration,
    /// The ramp without any arrival begun or ended.
    pub stall: Duration,
    /// Last due time's deadline to `measured`.
    pub measured: Duration,
    /// `stop` to `summary`.
    pub summary: Duration,
    /// End of standard input, or `summary`, to the end of the process.
    pub exit: Duration,
}

/// Time to close one client in order, generously.
const CLOSE_NS_PER_CLIENT: u64 = 50_000;

impl Bounds {
    /// The bounds of one point.
    pub fn of(e: &Experiment, point: &Point) -> Self {
        let c = &e.clients;
        let arrival = Duration::from_millis(c.connect_timeout_ms + c.upgrade_timeout_ms + c.join_timeout_ms);
        let schedule = Duration::from_secs_f64(e.arrival.seconds_for(point.clients));
        // A phase of a very low rate is no stall.
        let slowest = e.arrival.schedule().iter().map(|p| p.rate_per_s).fold(f64::MAX, f64::min);
        let closing = Duration::from_nanos(point.clients * CLOSE_NS_PER_CLIENT);
        Self {
            ready: Duration::from_secs_f64(e.server.ready_timeout_s),
            answer: Duration::from_mins(1),
            ramp: schedule * 4 + arrival + Duration::from_mins(1),
            stall: arrival + Duration::from_secs_f64(2.0 / slowest) + Duration::from_secs(15),
            measured: Duration::from_secs(30) + closing,
            summary: Duration::from_secs(30) + closing,
            exit: Duration::from_secs(20) + closing,
        }
    }
}
