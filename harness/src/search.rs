//! The largest value at which everything expected still holds: doubling, then bisection. Pure: the probe is a function.
//!
//! Taken for granted is that what fails at one value fails at every larger one. Noise near the limit can break that, so
//! the answer is a value that was seen to hold, never one between two probes.

use std::fmt::Write as _;

use c2m_schema::rows::PointRow;
use c2m_schema::run::{SearchProbe, SearchRecord};

use crate::experiment::{Counts, Experiment, Search, SearchKey};
use crate::plan::{Point, points};
use crate::text::count;

impl SearchKey {
    /// The dotted key.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientsCounts => "clients.counts",
            Self::ArrivalRate => "arrival.rate_per_s",
        }
    }

    /// A value of the key for people.
    pub fn value(self, value: u64) -> String {
        match self {
            Self::ClientsCounts => format!("{} clients", count(value)),
            Self::ArrivalRate => format!("{} arrivals per second", count(value)),
        }
    }

    /// A value of the key as a point's variant; empty when the count of clients tells it already.
    fn variant(self, value: u64) -> String {
        match self {
            Self::ClientsCounts => String::new(),
            Self::ArrivalRate => format!("{value}/s"),
        }
    }
}

/// The experiment with one value tried, and its point. The generator must keep its schedule too, or the row would speak
/// of the generator and not of the server.
pub fn probe(e: &Experiment, search: &Search, value: u64, index: u32) -> (Experiment, Point) {
    let mut e = e.clone();
    match search.key {
        SearchKey::ClientsCounts => e.clients.counts = Counts::List(vec![value]),
        SearchKey::ArrivalRate => e.arrival.rate_per_s = Some(value as f64),
    }
    e.search = None;
    e.expect.loadgen_saturated = Some(false);
    let mut point = points(&e).remove(0);
    e.server = e.server.only(&point.carrier);
    point.index = index;
    point.variant = search.key.variant(value);
    (e, point)
}

/// The search as text for people.
pub fn describe(search: &Search) -> String {
    format!(
        "search: the largest {} from {} to {} at which every expectation is met and the load generator keeps its \
         schedule, by doubling and bisection until the step is at most {} % of it",
        search.key.name(),
        count(search.low),
        count(search.high),
        (search.until * 1_000.0).round() / 10.0
    )
}

/// Searches, and tells `seen` the record after every probe. A probe gives whether its value held; none ends the search
/// before its answer. Errors are the probe's or `seen`'s.
pub fn largest<E>(
    search: &Search,
    mut probe: impl FnMut(u64, u32) -> Result<Option<bool>, E>,
    mut seen: impl FnMut(&SearchRecord) -> Result<(), E>,
) -> Result<SearchRecord, E> {
    let mut record = SearchRecord {
        key: search.key.name().into(),
        low: search.low,
        high: search.high,
        until: search.until,
        ..SearchRecord::default()
    };
    seen(&record)?;
    while let Some(value) = next(&record) {
        let point = record.probes.len() as u32;
        let Some(met) = probe(value, point)? else { return Ok(record) };
        record.probes.push(SearchProbe { value, point, met });
        if met {
            record.found = Some(value);
        } else {
            record.not_met = Some(value);
        }
        record.complete = next(&record).is_none();
        seen(&record)?;
    }
    Ok(record)
}

/// The value to try next; none when the answer is known as closely as asked for.
fn next(record: &SearchRecord) -> Option<u64> {
    match (record.found, record.not_met) {
        (None, None) => Some(record.low),
        // Not even the smallest.
        (None, Some(_)) => None,
        (Some(found), None) if found >= record.high => None,
        (Some(found), None) => Some(found.saturating_mul(2).min(record.high)),
        (Some(found), Some(not_met)) => {
            let gap = not_met - found;
            if gap <= 1 || gap as f64 <= record.until * found as f64 {
                return None;
            }
            let middle = found + gap / 2;
            // Three digits, as more would pretend to an exactness that no probe has.
            let unit = 10u64.pow(middle.ilog10().saturating_sub(2));
            let rounded = middle / unit * unit;
            Some(if rounded > found { rounded } else { middle })
        }
    }
}

/// The answer in a sentence.
pub fn answer(record: &SearchRecord) -> String {
    let key = &record.key;
    let so_far = if record.complete { "" } else { " The search ended before its answer." };
    match (record.found, record.not_met) {
        (Some(found), Some(not_met)) => {
            format!(
                "Largest {key} that met what the experiment expects: {}; {} did not.{so_far}",
                count(found),
                count(not_met)
            )
        }
        (Some(found), None) if record.complete => {
            format!("{key} = {} met what the experiment expects, and the search went no higher.", count(found))
        }
        (Some(found), None) => format!("{key} = {} met what the experiment expects.{so_far}", count(found)),
        (None, Some(not_met)) => format!("Not even {key} = {} met what the experiment expects.", count(not_met)),
        (None, None) => format!("Nothing is known of {key}.{so_far}"),
    }
}

/// The answer with what `rows` add to it: what came of the value found, and why the next one did not hold. A rate asked
/// for is not the rate that clients arrived at.
pub fn explained(record: &SearchRecord, rows: &[PointRow]) -> String {
    let mut text = answer(record);
    let row = |met: bool, value: Option<u64>| {
        let probe = record.probes.iter().rfind(|p| p.met == met && Some(p.value) == value)?;
        rows.iter().rfind(|r| r.point == probe.point)
    };
    if record.key == SearchKey::ArrivalRate.name()
        && let Some(rate) = row(true, record.found).and_then(|r| r.arrival_per_s)
    {
        let _ = write!(text, " Measured there: {} per second.", count(rate as u64));
    }
    if let Some(why) = row(false, record.not_met).map(|r| &r.reason).filter(|r| !r.is_empty())
        && let Some(value) = record.not_met
    {
        let _ = write!(text, " Why {} did not: {why}.", count(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(low: u64, high: u64, until: f64, limit: u64) -> (SearchRecord, Vec<u64>) {
        let search = Search { key: SearchKey::ArrivalRate, low, high, until };
        let mut tried = Vec::new();
        let probe = |value: u64, index: u32| {
            assert_eq!(index as usize, tried.len());
            tried.push(value);
            Ok::<_, ()>(Some(value <= limit))
        };
        let record = largest(&search, probe, |_| Ok(())).unwrap();
        (record, tried)
    }

    #[test]
    fn it_doubles_until_a_failure_and_then_bisects_to_the_width_asked_for() {
        let (record, tried) = run(1_000, 100_000, 0.05, 13_370);
        assert_eq!(tried, [1_000, 2_000, 4_000, 8_000, 16_000, 12_000, 14_000, 13_000, 13_500]);
        assert_eq!((record.found, record.not_met, record.complete), (Some(13_000), Some(13_500), true));
        assert_eq!(record.probes.iter().filter(|p| p.met).count(), 6);
    }

    #[test]
    fn every_limit_is_bracketed_within_the_width_and_no_value_is_tried_twice() {
        for limit in (1..400).chain([999, 1_000, 12_345, 65_535]) {
            for until in [0.01, 0.05, 0.5] {
                let (record, mut tried) = run(1, 70_000, until, limit);
                let (found, not_met) = (record.found.unwrap(), record.not_met.unwrap());
                assert!(found <= limit && limit < not_met, "{limit}: {record:?}");
                assert!(
                    not_met - found <= 1 || (not_met - found) as f64 <= until * found as f64,
                    "{limit}: {record:?}"
                );
                assert!(tried.len() <= 40, "{tried:?}");
                let all = tried.len();
                tried.sort_unstable();
                tried.dedup();
                assert_eq!(tried.len(), all, "{limit}");
            }
        }
    }

    #[test]
    fn the_bounds_are_kept_and_both_ends_are_answers() {
        let (record, tried) = run(100, 700, 0.05, 10_000);
        assert_eq!(tried, [100, 200, 400, 700]);
        assert_eq!((record.found, record.not_met, record.complete), (Some(700), None, true));
        let (record, tried) = run(100, 700, 0.05, 99);
        assert_eq!(tried, [100]);
        assert_eq!((record.found, record.not_met, record.complete), (None, Some(100), true));
        let (record, tried) = run(100, 100, 0.05, 100);
        assert_eq!((tried.as_slice(), record.found), (&[100][..], Some(100)));
    }

    #[test]
    fn a_search_that_is_ended_keeps_what_it_knows_and_says_that_it_was() {
        let search = Search { key: SearchKey::ClientsCounts, low: 10, high: 1_000, until: 0.05 };
        let mut records = 0;
        let seen = |_: &SearchRecord| {
            records += 1;
            Ok::<_, ()>(())
        };
        let record = largest(&search, |value, _| Ok((value < 40).then_some(true)), seen).unwrap();
        assert_eq!((record.found, record.not_met, record.complete, records), (Some(20), None, false, 3));
        assert!(answer(&record).contains("20") && answer(&record).contains("ended before"), "{}", answer(&record));
    }
}
