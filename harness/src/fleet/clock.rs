//! How far another host's clock is from this one's, from questions and answers. Pure.
//!
//! An answer was written at some moment between question and receipt, so half the time between them bounds the error,
//! whatever the two ways took (RFC 5905 §8 takes the same figures).

/// A question that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When it was asked, on this clock.
    pub asked_ns: u64,
    /// What the other clock showed.
    pub other_ns: u64,
    /// When the answer was here, on this clock.
    pub answered_ns: u64,
}

/// The other clock minus this one, and how far that may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Nanoseconds to add to this clock.
    pub ns: i64,
    /// Largest error, either way.
    pub error_ns: u64,
}

impl Exchange {
    fn offset(self) -> Offset {
        let way = self.answered_ns.saturating_sub(self.asked_ns);
        let middle = self.asked_ns + way / 2;
        Offset { ns: (i128::from(self.other_ns) - i128::from(middle)) as i64, error_ns: way.div_ceil(2) }
    }
}

/// The estimate of the quickest exchange; none without any.
pub fn estimate(exchanges: &[Exchange]) -> Option<Offset> {
    exchanges.iter().map(|exchange| exchange.offset()).min_by_key(|offset| offset.error_ns)
}

impl Offset {
    /// This clock against a third, both told against the same one.
    #[must_use]
    pub fn against(self, reference: Self) -> Self {
        Self { ns: self.ns.saturating_sub(reference.ns), error_ns: self.error_ns.saturating_add(reference.error_ns) }
    }

    /// What held from an earlier to a later estimate: the earlier, and its error widened by what changed.
    #[must_use]
    pub fn until(self, later: Self) -> Self {
        let moved = self.ns.abs_diff(later.ns);
        Self { ns: self.ns, error_ns: self.error_ns.max(later.error_ns).saturating_add(moved) }
    }

    /// A time of the other clock on this one.
    pub fn to_here(self, other_ns: u64) -> u64 {
        other_ns.saturating_add_signed(self.ns.saturating_neg())
    }

    /// A time of this clock on the other.
    pub fn to_there(self, here_ns: u64) -> u64 {
        here_ns.saturating_add_signed(self.ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_bound(
            offset in -1_000_000_000_000i64..1_000_000_000_000,
            ways in prop::collection::vec((0u64..50_000_000, 0u64..50_000_000), 1..20),
        ) {
            let exchanges: Vec<Exchange> = ways.iter().zip(0u64..).map(|(&(there, back), i)| {
                let asked_ns = 10_000_000_000_000 + i * 100_000_000;
                let other_ns = (asked_ns + there).saturating_add_signed(offset);
                Exchange { asked_ns, other_ns, answered_ns: asked_ns + there + back }
            }).collect();
            let found = estimate(&exchanges).unwrap();
            prop_assert!(found.ns.abs_diff(offset) <= found.error_ns, "{found:?} against {offset}");
            let quickest = ways.iter().map(|(there, back)| there + back).min().unwrap();
            prop_assert_eq!(found.error_ns, quickest.div_ceil(2));
            prop_assert_eq!(found.to_here(found.to_there(20_000_000_000_000)), 20_000_000_000_000);
        }
    }

    #[test]
    fn drift_widens_the_bound_and_a_reference_adds_its_own() {
        let (early, late) = (Offset { ns: 100, error_ns: 5 }, Offset { ns: 130, error_ns: 7 });
        assert_eq!(early.until(late), Offset { ns: 100, error_ns: 37 });
        assert_eq!(late.against(early), Offset { ns: 30, error_ns: 12 });
        assert_eq!(estimate(&[]), None);
    }
}
