//! Series over time out of the samples: clients of all agents together, and gaps kept as gaps. Pure functions.

use std::collections::BTreeMap;

use c2m_schema::rows::{Phase, Subject};

use crate::rundir::{RunDir, Sample};

/// A repetition of a point.
pub(super) type Key = (u32, u32);

/// Counters of all agents together at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clients {
    /// When it was counted, nanoseconds since the run began.
    pub t_ns: u64,
    /// Seconds since the first arrival.
    pub seconds: f64,
    /// Clients whose connect was begun.
    pub attempted: u64,
    /// Clients joined now.
    pub live: u64,
}

/// The samples of each repetition, in order of point and repetition.
pub(super) fn by_repetition(samples: &[Sample]) -> BTreeMap<Key, Vec<&Sample>> {
    let mut groups: BTreeMap<Key, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        groups.entry((sample.point, sample.repetition)).or_default().push(sample);
    }
    groups
}

/// The clients of one repetition over time, from its first arrival until they leave. Agents that report at different
/// moments are added up with the last that each said.
pub(super) fn clients(run: &RunDir, key: Key, samples: &[&Sample]) -> Vec<Clients> {
    let counted: Vec<_> = samples
        .iter()
        .filter(|s| s.subject == Subject::Agent && s.phase != Phase::Drain)
        .filter_map(|s| Some((s, s.attempted?, s.live?)))
        .collect();
    let recorded = run.point(key.0, key.1).and_then(|p| p.started_ns);
    let first_seen =
        || counted.iter().find(|(s, ..)| s.phase != Phase::Start).or(counted.first()).map(|(s, ..)| s.t_ns);
    let Some(start) = recorded.or_else(first_seen) else { return Vec::new() };
    let mut latest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut out: Vec<Clients> = Vec::new();
    for (sample, attempted, live) in counted {
        latest.insert(&sample.name, (attempted, live));
        let t_ns = sample.counters_ns.unwrap_or(sample.t_ns);
        let Some(since) = t_ns.checked_sub(start) else { continue };
        let sum = latest.values().fold((0u64, 0u64), |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        let now = Clients { t_ns, seconds: since as f64 / 1e9, attempted: sum.0, live: sum.1 };
        match out.last_mut() {
            Some(last) if last.seconds.total_cmp(&now.seconds).is_eq() => *last = now,
            _ => out.push(now),
        }
    }
    out.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    out
}

/// Cuts a series over time where nothing was read for long, so that no line is drawn over a hole.
pub(super) fn without_holes(points: Vec<(f64, f64)>) -> Vec<Vec<(f64, f64)>> {
    let mut steps: Vec<f64> = points.windows(2).map(|w| w[1].0 - w[0].0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let limit = (usual * 5.0).max(5.0);
    let mut out: Vec<Vec<(f64, f64)>> = Vec::new();
    for point in points {
        match out.last_mut() {
            Some(part) if part.last().is_some_and(|last| point.0 - last.0 <= limit) => part.push(point),
            _ => out.push(vec![point]),
        }
    }
    out
}

/// The middle of the values, the lower of two; none of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_stays_a_hole() {
        let parts = without_holes(vec![(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (30.0, 1.0), (31.0, 1.0)]);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(1.0));
        assert_eq!(median(vec![f64::NAN]), None);
    }
}
