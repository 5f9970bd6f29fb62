//! Latencies of each point: the histograms of all its agents, repetitions and broadcasts, added up. Pure.

use std::collections::BTreeMap;

use c2m_schema::histogram::RANGE_HIGH_NS;
use c2m_schema::rows::LatencyRow;
use maud::{Markup, html};

use super::tables::unreadable;
use crate::draw::figure::Blank;
use crate::draw::number;
use crate::rundir::RunDir;

/// What each metric runs from and to, in the order of the table.
const METRICS: [(&str, &str); 10] = [
    ("connect", "arrival due to TCP connected"),
    ("upgrade", "arrival due to upgraded"),
    ("join", "arrival due to joined"),
    ("delivery", "broadcast due to received"),
    ("delivery_uncorrected", "broadcast sent to received: hides a sender that was held up"),
    ("heartbeat", "heartbeat due to answered"),
    ("reconnect", "lost to joined again"),
    ("arrival_lag", "the generator's own: arrival due to begun"),
    ("publish_lag", "the generator's own: broadcast due to sent"),
    ("heartbeat_lag", "the generator's own: heartbeat due to sent"),
];
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Samples by the highest value of their bucket.
type Buckets = BTreeMap<u64, u64>;

/// Percentiles of every metric that was recorded, for each point.
pub(super) fn table(run: &RunDir) -> Markup {
    let rows = match run.latency() {
        Ok(rows) => rows,
        Err(e) => return unreadable(Blank::from(e).reason()),
    };
    let all = merged(&rows);
    if all.is_empty() {
        return html! { p { "None was recorded." } };
    }
    let clients = |point: u32| run.points.iter().find(|p| p.point == point).map(|p| p.clients_target);
    html! {
        details open[all.len() <= 30] {
            summary { "Percentiles of each point, over all its repetitions" }
            div.scroll tabindex="0" { table {
                thead { tr {
                    th { "clients" } th.text { "latency" } th { "samples" }
                    @for (name, _) in QUANTILES { th { (name) } }
                    th { "largest" } th.text { "from and to" }
                } }
                tbody { @for ((point, metric), buckets) in &all { tr {
                    td { (clients(*point).map_or_else(|| format!("point {point}"), number::count)) }
                    td.text { code { (METRICS[*metric].0) } }
                    td { (number::count(buckets.values().sum())) }
                    @for (_, quantile) in QUANTILES { td { (cell(quantile_of(buckets, quantile))) } }
                    td { (buckets.keys().next_back().map(|&ns| number::duration(ns as f64)).unwrap_or_default()) }
                    td.text.long { (METRICS[*metric].1) }
                } } }
            } }
            p.note { "The largest value is that of its bucket, which is at most 1 % wide; exact ones stand in points.csv. \
                What took longer than 60 s is counted and not placed among the others." }
        }
    }
}

fn merged(rows: &[LatencyRow]) -> BTreeMap<(u32, usize), Buckets> {
    let mut all: BTreeMap<(u32, usize), Buckets> = BTreeMap::new();
    for row in rows {
        if let Some(metric) = METRICS.iter().position(|(name, _)| *name == row.metric) {
            *all.entry((row.point, metric)).or_default().entry(row.bucket_high_ns).or_default() += row.count;
        }
    }
    all
}

fn quantile_of(buckets: &Buckets, quantile: f64) -> Option<u64> {
    let total: u64 = buckets.values().sum();
    let rank = ((quantile * total as f64).ceil() as u64).max(1);
    let mut seen = 0;
    buckets.iter().find_map(|(&high, &count)| {
        seen += count;
        (seen >= rank).then_some(high)
    })
}

/// A percentile; what is over the range of the histogram is said to be so (C17).
fn cell(ns: Option<u64>) -> String {
    match ns {
        Some(ns) if ns > RANGE_HIGH_NS => "> 60 s".to_owned(),
        Some(ns) => number::duration(ns as f64),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(point: u32, repetition: u32, metric: &str, bucket_high_ns: u64, count: u64) -> LatencyRow {
        LatencyRow { point, repetition, metric: metric.into(), sequence: None, bucket_high_ns, count }
    }

    #[test]
    fn repetitions_are_added_up_before_a_percentile_is_taken() {
        // Percentiles of each would be 1 and 9; of all samples together the median is 1.
        let rows =
            [row(0, 0, "join", 1, 90), row(0, 1, "join", 9, 10), row(1, 0, "join", 5, 1), row(0, 0, "new", 5, 1)];
        let all = merged(&rows);
        assert_eq!(all.len(), 2);
        let join = &all[&(0, 2)];
        assert_eq!([0.5, 0.9, 0.91, 0.9999].map(|q| quantile_of(join, q)), [Some(1), Some(1), Some(9), Some(9)]);
    }

    /// C17: 1,000 samples of 5 ms and one of 75 s.
    #[test]
    fn a_percentile_over_the_range_is_said_to_be_so() {
        let all = merged(&[row(0, 0, "delivery", 5_000_000, 1_000), row(0, 0, "delivery", 75_000_000_000, 1)]);
        let buckets = &all[&(0, 3)];
        assert_eq!(QUANTILES.map(|(_, q)| cell(quantile_of(buckets, q))), ["5 ms", "5 ms", "5 ms", "5 ms", "> 60 s"]);
    }
}
