//! The one clock: `CLOCK_MONOTONIC`, which all processes of a host share. Stateless, any thread.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, comparable between the processes of one host.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Wall clock, nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let readings: Vec<u64> = (0..1000).map(|_| monotonic_ns()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn the_wall_clock_agrees_with_the_standard_library() {
        let since_epoch = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let (before, here, after) = (since_epoch(), unix_ns(), since_epoch());
        assert!((before..=after).contains(&here), "{before} {here} {after}");
    }
}
