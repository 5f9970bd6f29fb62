//! How long a session lasts and when it sends heartbeats, without running through its loops. Pure.

/// A part of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    /// How long it takes.
    pub(super) seconds: f64,
    /// Its heartbeats; none: it sends none.
    pub(super) beats: Option<Beats>,
}

/// The heartbeats of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beats {
    /// From the beginning of the part to the first, in seconds.
    pub(super) first_s: f64,
    /// From the last to the end of the part.
    pub(super) rest_s: f64,
    /// Shortest and longest time from one to the next; none: there is one alone.
    pub(super) between_s: Option<(f64, f64)>,
}

impl Span {
    pub(super) fn think(seconds: f64) -> Self {
        Self { seconds, beats: None }
    }

    pub(super) fn beat() -> Self {
        Self { seconds: 0.0, beats: Some(Beats { first_s: 0.0, rest_s: 0.0, between_s: None }) }
    }

    /// This part, then another.
    pub(super) fn then(self, next: Self) -> Self {
        let beats = match (self.beats, next.beats) {
            (None, None) => None,
            (Some(own), None) => Some(Beats { rest_s: own.rest_s + next.seconds, ..own }),
            (None, Some(its)) => Some(Beats { first_s: self.seconds + its.first_s, ..its }),
            (Some(own), Some(its)) => {
                let joint = own.rest_s + its.first_s;
                let all = [own.between_s, Some((joint, joint)), its.between_s];
                let (shortest, longest) = all
                    .into_iter()
                    .flatten()
                    .fold((f64::INFINITY, 0.0_f64), |(low, high), (l, h)| (low.min(l), high.max(h)));
                let between_s = Some((shortest, longest));
                Some(Beats { first_s: own.first_s, rest_s: its.rest_s, between_s })
            }
        };
        Self { seconds: self.seconds + next.seconds, beats }
    }

    /// This part, `times` times, at least once.
    pub(super) fn repeated(self, times: u64) -> Self {
        let once_or_twice = if times > 1 { self.then(self) } else { self };
        // All joints are alike, so two rounds have shown what there is to see.
        Self { seconds: self.seconds * times.max(1) as f64, ..once_or_twice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by running through it: time, and the times of all heartbeats.
    fn beats_at(parts: &[(bool, u32)]) -> (f64, Vec<f64>) {
        let (mut now, mut at) = (0.0, Vec::new());
        for &(is_beat, seconds) in parts {
            if is_beat {
                at.push(now);
            } else {
                now += f64::from(seconds);
            }
        }
        (now, at)
    }

    proptest! {
        #[test]
        fn a_loop_is_what_running_through_it_gives(
            before in prop::collection::vec((any::<bool>(), 1u32..100), 0..4),
            body in prop::collection::vec((any::<bool>(), 1u32..100), 0..5),
            times in 1usize..6,
        ) {
            let span = |parts: &[(bool, u32)]| parts.iter().fold(Span::default(), |span, &(is_beat, s)| {
                span.then(if is_beat { Span::beat() } else { Span::think(f64::from(s)) })
            });
            let whole = span(&before).then(span(&body).repeated(times as u64));
            let run: Vec<_> = before.iter().copied().chain((0..times).flat_map(|_| body.iter().copied())).collect();
            let (seconds, at) = beats_at(&run);
            prop_assert!((whole.seconds - seconds).abs() < 1e-9, "{} {}", whole.seconds, seconds);
            prop_assert_eq!(whole.beats.map(|b| b.first_s), at.first().copied());
            prop_assert_eq!(whole.beats.map(|b| b.rest_s), at.last().map(|last| seconds - last));
            let between: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
            let shortest = between.iter().copied().reduce(f64::min);
            let longest = between.iter().copied().reduce(f64::max);
            prop_assert_eq!(whole.beats.and_then(|b| b.between_s), shortest.zip(longest));
        }
    }
}
