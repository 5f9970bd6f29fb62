//! When the kernel has taken back what sockets that ended had. Pure.

use std::time::Duration;

/// Between two readings.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Readings, at most.
pub const READINGS_MAX: u32 = 40;
/// Less than this between two readings is no freeing any more: a byte a client at the smallest point that matters.
const QUIET_BYTES: u64 = 256 * 1024;

/// Whether memory of sockets did not fall any more between two readings; what can't be read never falls.
pub fn is_quiet(before: Option<u64>, after: Option<u64>) -> bool {
    before.zip(after).map_or(0, |(before, after)| before.saturating_sub(after)) < QUIET_BYTES
}
