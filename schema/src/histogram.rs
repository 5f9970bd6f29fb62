//! Latency recording: an HDR histogram with what it can't hold kept beside it.
//!
//! A [`Recorder`] never clamps: a sample above the range is counted as over range, a negative one as a clock fault, and
//! the maximum is exact. Percentiles of several workers, agents or repetitions come from merged recorders only.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

/// Upper bound of the recorded range, in nanoseconds. Slower samples count as over range.
pub const RANGE_HIGH_NS: u64 = 60_000_000_000;
/// Lower bound of the recorded resolution, in nanoseconds.
const RANGE_LOW_NS: u64 = 1_000;
/// Two significant digits: a bucket is at most 1 % wide, and a recorder takes about 11 kB.
const SIGNIFICANT_DIGITS: u8 = 2;

/// A latency distribution of durations in nanoseconds.
#[derive(Clone, Debug)]
pub struct Recorder {
    buckets: Histogram<u32>,
    over_range: u64,
    negative: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// A percentile: a value, or the statement that it lies beyond the recorded range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// The value, in nanoseconds, equal to the sample within the histogram's resolution.
    Ns(u64),
    /// The sample lies above [`RANGE_HIGH_NS`].
    OverRange,
}

impl Quantile {
    /// The value for a CSV cell: an over-range percentile is given as the exact maximum's lower bound, the range itself,
    /// only in text; in numbers it stays empty.
    pub fn ns(self) -> Option<u64> {
        match self {
            Self::Ns(ns) => Some(ns),
            Self::OverRange => None,
        }
    }
}

impl Recorder {
    /// An empty recorder.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    pub fn new() -> Self {
        let buckets = Histogram::new_with_bounds(RANGE_LOW_NS, RANGE_HIGH_NS, SIGNIFICANT_DIGITS)
            .expect("constant bounds are valid");
        Self { buckets, over_range: 0, negative: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    /// Records the time from `from_ns` to `to_ns` on one clock. A negative duration is a clock fault and counted so.
    pub fn record_span(&mut self, from_ns: u64, to_ns: u64) {
        match to_ns.checked_sub(from_ns) {
            Some(ns) => self.record(ns),
            None => self.negative += 1,
        }
    }

    /// Records one duration in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        if ns > RANGE_HIGH_NS || self.buckets.record(ns).is_err() {
            self.over_range += 1;
        }
    }

    /// Number of samples, over-range ones included, clock faults not.
    pub fn count(&self) -> u64 {
        self.buckets.len() + self.over_range
    }

    /// Samples above [`RANGE_HIGH_NS`].
    pub fn over_range(&self) -> u64 {
        self.over_range
    }

    /// Negative durations, which are clock faults and in no percentile.
    pub fn negative(&self) -> u64 {
        self.negative
    }

    /// The exact largest sample, also when it is over range; none without samples.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max_ns)
    }

    /// The exact smallest sample; none without samples.
    pub fn min_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.min_ns)
    }

    /// The sample at `quantile` (0 to 1) of all samples, over-range ones included; none without samples.
    pub fn quantile(&self, quantile: f64) -> Option<Quantile> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for bucket in self.buckets.iter_recorded() {
            seen += u64::from(bucket.count_at_value());
            if seen >= rank {
                return Some(Quantile::Ns(bucket.value_iterated_to().clamp(self.min_ns, self.max_ns)));
            }
        }
        Some(Quantile::OverRange)
    }

    /// The sample at `quantile` in nanoseconds; none without samples or when it is over range.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        self.quantile(quantile).and_then(Quantile::ns)
    }

    /// Adds every sample of `other`.
    ///
    /// # Panics
    /// Never: all recorders have the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.add(&other.buckets).expect("all recorders have the same bounds");
        self.over_range += other.over_range;
        self.negative += other.negative;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets every sample and keeps the memory.
    pub fn clear(&mut self) {
        self.buckets.reset();
        self.over_range = 0;
        self.negative = 0;
        self.min_ns = u64::MAX;
        self.max_ns = 0;
    }

    /// The non-empty buckets in rising order: highest value of the bucket in nanoseconds, and its count. Over-range
    /// samples follow as one last bucket at the exact maximum.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let mut rows: Vec<_> =
            self.buckets.iter_recorded().map(|b| (b.value_iterated_to(), u64::from(b.count_at_value()))).collect();
        if self.over_range > 0 {
            rows.push((self.max_ns, self.over_range));
        }
        rows
    }

    /// The form that crosses a process.
    ///
    /// # Panics
    /// Never: writing to memory can't fail.
    pub fn to_wire(&self) -> HistogramWire {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.buckets, &mut bytes).expect("writing to memory");
        HistogramWire {
            v2_base64: BASE64.encode(bytes),
            over_range: self.over_range,
            negative: self.negative,
            min_ns: self.min_ns,
            max_ns: self.max_ns,
        }
    }
}

/// A [`Recorder`] as text: the `HdrHistogram` V2 encoding in base64, and what that encoding has no place for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramWire {
    /// `HdrHistogram` V2 encoding, base64.
    pub v2_base64: String,
    /// Samples above the range.
    pub over_range: u64,
    /// Negative durations.
    pub negative: u64,
    /// Exact minimum; `u64::MAX` when empty.
    pub min_ns: u64,
    /// Exact maximum; 0 when empty.
    pub max_ns: u64,
}

/// Why a received histogram could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The text is not base64.
    #[error("histogram is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bytes are not an `HdrHistogram` V2 encoding.
    #[error("histogram is not in HdrHistogram V2 form: {0:?}")]
    Encoding(hdrhistogram::serialization::DeserializeError),
    /// The histogram has other bounds than this build records with.
    #[error("histogram has bounds that this build does not record with")]
    Bounds,
}

impl HistogramWire {
    /// Reads the wire form back.
    pub fn to_recorder(&self) -> Result<Recorder, WireError> {
        let bytes = BASE64.decode(&self.v2_base64)?;
        let buckets: Histogram<u32> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(WireError::Encoding)?;
        let mut recorder = Recorder::new();
        recorder.buckets.add(&buckets).map_err(|_| WireError::Bounds)?;
        recorder.over_range = self.over_range;
        recorder.negative = self.negative;
        recorder.min_ns = self.min_ns;
        recorder.max_ns = self.max_ns;
        Ok(recorder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// C17: one slow sample neither panics, nor is clamped, nor hides the others.
    #[test]
    fn over_range_zero_and_negative_samples_are_told_apart() {
        let mut r = Recorder::new();
        for _ in 0..1000 {
            r.record(5_000_000);
        }
        r.record(75_000_000_000);
        r.record(0);
        r.record_span(10, 5);
        assert_eq!(r.count(), 1002);
        assert_eq!(r.over_range(), 1);
        assert_eq!(r.negative(), 1);
        assert_eq!(r.max_ns(), Some(75_000_000_000));
        assert_eq!(r.min_ns(), Some(0));
        assert_eq!(r.quantile(1.0), Some(Quantile::OverRange));
        let p50 = r.quantile_ns(0.5).unwrap();
        assert!((4_950_000..=5_050_000).contains(&p50), "{p50}");
        assert_eq!(r.buckets().last(), Some(&(75_000_000_000, 1)));
    }

    #[test]
    fn an_empty_recorder_has_no_percentiles() {
        let r = Recorder::new();
        assert_eq!((r.quantile(0.5), r.max_ns(), r.min_ns()), (None, None, None));
        assert!(r.buckets().is_empty());
    }

    proptest! {
        #[test]
        fn merging_equals_recording_all_in_one(a in prop::collection::vec(0u64..100_000_000_000, 0..200),
                                               b in prop::collection::vec(0u64..100_000_000_000, 0..200)) {
            let record = |samples: &[u64]| {
                let mut r = Recorder::new();
                for ns in samples.iter().copied() { r.record(ns); }
                r
            };
            let mut merged = record(&a);
            merged.merge(&record(&b));
            let all = record(&[a, b].concat());
            prop_assert_eq!(merged.buckets(), all.buckets());
            prop_assert_eq!(merged.max_ns(), all.max_ns());
            let over_the_wire = all.to_wire().to_recorder().unwrap();
            prop_assert_eq!(over_the_wire.to_wire(), all.to_wire());
            prop_assert_eq!(over_the_wire.buckets(), all.buckets());
        }

        #[test]
        fn a_percentile_is_within_one_percent_of_the_exact_one(
            mut samples in prop::collection::vec(100_000u64..50_000_000_000, 1..300), q in 0.0f64..1.0) {
            let mut r = Recorder::new();
            for ns in samples.iter().copied() { r.record(ns); }
            samples.sort_unstable();
            let rank = ((q * samples.len() as f64).ceil() as usize).clamp(1, samples.len());
            let exact = samples[rank - 1] as f64;
            let got = r.quantile_ns(q).unwrap() as f64;
            prop_assert!((got - exact).abs() <= exact * 0.01 + 1024.0, "{} {}", got, exact);
        }
    }
}
