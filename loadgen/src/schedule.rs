//! When each client is due to arrive. Pure: every thread computes the due times of its own clients.

use c2m_schema::control::ArrivalPhase;

const NS_PER_S: f64 = 1e9;

/// Arrivals by phases of rates. The last phase goes on until every client has arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalSchedule {
    segments: Vec<Segment>,
    /// Arrivals when the last phase ends; infinite when it has no end.
    planned: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    /// Arrivals before this segment.
    first: f64,
    begin_s: f64,
    rate_per_s: f64,
}

/// Why phases make no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No phase at all.
    #[error("an arrival schedule needs at least one phase")]
    Empty,
    /// A length or rate that is negative or not a number, or a last phase without a rate.
    #[error("arrival phase {0} needs a length and a rate of zero or more, and the last phase a rate above zero")]
    Number(usize),
    /// A phase without an end that is not the last.
    #[error("arrival phase {0} has no length; only the last may have none")]
    Endless(usize),
}

impl ArrivalSchedule {
    /// Errors: phases that can't bring every client; phases are numbered from 1.
    pub fn new(phases: &[ArrivalPhase]) -> Result<Self, ScheduleError> {
        let mut segments = Vec::with_capacity(phases.len());
        let (mut first, mut begin_s) = (0.0, 0.0);
        for (at, phase) in phases.iter().enumerate() {
            let is_last = at + 1 == phases.len();
            let rate_per_s = phase.rate_per_s;
            let seconds = phase.seconds.unwrap_or(f64::INFINITY);
            let is_sound = rate_per_s.is_finite() && rate_per_s >= 0.0 && seconds >= 0.0;
            if !is_sound || (is_last && rate_per_s == 0.0) {
                return Err(ScheduleError::Number(at + 1));
            }
            if seconds.is_infinite() && !is_last {
                return Err(ScheduleError::Endless(at + 1));
            }
            segments.push(Segment { first, begin_s, rate_per_s });
            first += seconds * rate_per_s;
            begin_s += seconds;
        }
        if segments.is_empty() {
            return Err(ScheduleError::Empty);
        }
        Ok(Self { segments, planned: first })
    }

    /// Clients that the phases bring within their lengths; none when the last has no end.
    pub fn planned(&self) -> Option<u64> {
        self.planned.is_finite().then(|| self.planned.round() as u64)
    }

    /// The lowest rate from the phase of client `index` on; pauses aside, in which nobody arrives.
    pub fn slowest_rate_after(&self, index: u64) -> f64 {
        let phases = &self.segments[self.segment_of(index)..];
        let rates = phases.iter().map(|segment| segment.rate_per_s).filter(|&rate| rate > 0.0);
        // The last phase has a rate, or there would be no schedule.
        rates.fold(f64::INFINITY, f64::min)
    }

    /// When client `index` is due, in nanoseconds after the start.
    pub fn due_offset_ns(&self, index: u64) -> u64 {
        let segment = self.segments[self.segment_of(index)];
        let seconds = segment.begin_s + (index as f64 - segment.first) / segment.rate_per_s;
        (seconds * NS_PER_S).round() as u64
    }

    /// The first segment begins at 0, so there is always one. A segment without arrivals begins where the next does, which
    /// is therefore found instead.
    fn segment_of(&self, index: u64) -> usize {
        let index = index as f64;
        self.segments.partition_point(|segment| segment.first <= index) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phase(seconds: impl Into<Option<f64>>, rate_per_s: f64) -> ArrivalPhase {
        ArrivalPhase { seconds: seconds.into(), rate_per_s }
    }

    #[test]
    fn one_rate_spaces_arrivals_evenly_from_zero() {
        let schedule = ArrivalSchedule::new(&[phase(None, 10_000.0)]).unwrap();
        for index in [0, 1, 2, 999_999] {
            assert_eq!(schedule.due_offset_ns(index), index * 100_000);
        }
        assert_eq!(schedule.planned(), None);
    }

    #[test]
    fn phases_follow_one_another_and_the_last_goes_on() {
        let schedule = ArrivalSchedule::new(&[phase(2.0, 10.0), phase(1.0, 0.0), phase(1.0, 4.0)]).unwrap();
        let due_ms = |index| schedule.due_offset_ns(index) / 1_000_000;
        assert_eq!((due_ms(0), due_ms(1), due_ms(19)), (0, 100, 1900));
        assert_eq!((due_ms(20), due_ms(21), due_ms(23)), (3000, 3250, 3750), "nobody arrives in the pause");
        assert_eq!((due_ms(24), due_ms(28)), (4000, 5000));
        assert_eq!(schedule.planned(), Some(24));
    }

    #[test]
    fn phases_that_cannot_bring_everyone_are_refused_by_number() {
        let error = |phases: &[ArrivalPhase]| ArrivalSchedule::new(phases).unwrap_err();
        assert_eq!(error(&[]), ScheduleError::Empty);
        assert_eq!(error(&[phase(1.0, 5.0), phase(1.0, 0.0)]), ScheduleError::Number(2));
        assert_eq!(error(&[phase(-1.0, 5.0)]), ScheduleError::Number(1));
        assert_eq!(error(&[phase(1.0, f64::NAN)]), ScheduleError::Number(1));
        assert_eq!(error(&[phase(None, 5.0), phase(1.0, 5.0)]), ScheduleError::Endless(1));
    }

    proptest! {
        #[test]
        fn due_times_never_fall_and_each_phase_gets_its_share(
            phases in prop::collection::vec((0.1f64..20.0, 0.5f64..2000.0), 1..6), clients in 1u64..3000) {
            let phases: Vec<_> = phases.into_iter().map(|(seconds, rate)| phase(seconds, rate)).collect();
            let schedule = ArrivalSchedule::new(&phases).unwrap();
            let due: Vec<u64> = (0..clients).map(|index| schedule.due_offset_ns(index)).collect();
            prop_assert!(due.is_sorted());
            let first_end_ns = (phases[0].seconds.unwrap() * NS_PER_S) as u64;
            let arrived = due.iter().filter(|&&ns| ns < first_end_ns).count() as f64;
            let share = (phases[0].seconds.unwrap() * phases[0].rate_per_s).min(clients as f64);
            prop_assert!((arrived - share).abs() <= 1.0, "{} {}", arrived, share);
        }
    }
}
