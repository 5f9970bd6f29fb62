//! Whether the generator, and not the server, was the limit. Pure.

/// How far the generator was behind its schedule. Absent: nothing of the kind was scheduled, or it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    /// 99th percentile of arrivals' lag (due to begun).
    pub arrival_p99_ns: Option<u64>,
    /// 99th percentile of heartbeats' lag.
    pub heartbeat_p99_ns: Option<u64>,
    /// Worst lag of a broadcast's sending.
    pub publish_max_ns: Option<u64>,
    /// Between broadcasts.
    pub interval_ns: Option<u64>,
}

const ARRIVAL_LAG_MAX_NS: u64 = 100_000_000;
const HEARTBEAT_LAG_MAX_NS: u64 = 1_000_000_000;
const PUBLISH_LAG_MAX_NS: u64 = 100_000_000;

/// The generator is saturated when one arrival in a hundred began more than 100 ms late, or one heartbeat in a hundred
/// more than 1 s late, or any broadcast was sent later than 100 ms or half its interval after it was due, whichever is
/// less. None when no lag of arrivals is known: then nothing can be said.
pub fn saturated(lags: &Lags) -> Option<bool> {
    let arrival = lags.arrival_p99_ns?;
    let publish_max = PUBLISH_LAG_MAX_NS.min(lags.interval_ns.map_or(u64::MAX, |i| i / 2));
    Some(
        arrival > ARRIVAL_LAG_MAX_NS
            || lags.heartbeat_p99_ns.is_some_and(|ns| ns > HEARTBEAT_LAG_MAX_NS)
            || lags.publish_max_ns.is_some_and(|ns| ns > publish_max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn any_schedule_that_was_not_kept_counts_and_the_unknown_is_not_a_no() {
        let kept = Lags {
            arrival_p99_ns: Some(99 * MS),
            heartbeat_p99_ns: Some(MS),
            publish_max_ns: Some(40 * MS),
            interval_ns: Some(100 * MS),
        };
        assert_eq!(saturated(&kept), Some(false));
        assert_eq!(saturated(&Lags { arrival_p99_ns: Some(101 * MS), ..kept }), Some(true));
        assert_eq!(saturated(&Lags { heartbeat_p99_ns: Some(1_001 * MS), ..kept }), Some(true));
        assert_eq!(saturated(&Lags { publish_max_ns: Some(51 * MS), ..kept }), Some(true));
        assert_eq!(saturated(&Lags { arrival_p99_ns: None, ..kept }), None);
    }
}
