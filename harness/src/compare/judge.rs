//! Two runs set beside each other: points matched, figures judged. Pure functions.
//!
//! A verdict needs the same machine class and several repetitions on both sides whose ranges are clearly apart: by more than
//! either is wide, and by more than a share that means nothing. More repetitions can so only widen a range and never make a
//! difference out of noise. (Of three and three values of the same kind one time in ten no two ranges overlap.)

use std::collections::BTreeMap;

use c2m_schema::rows::{PointRow, Status};
use serde::Serialize;

use super::hosts::{self, Difference};
use super::metrics::{Better, MET, METRICS, Metric};
use crate::draw::number;
use crate::rundir::{RunDir, status_name};

/// Repetitions that each side needs for a verdict.
const REPETITIONS_MIN: usize = 2;
/// Share by which ranges must be apart at least: memory is counted in pages, and a few of them say nothing.
const MEANINGLESS: f64 = 0.01;

/// What became of a figure from the first run to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second run is better.
    Better,
    /// The second run is worse.
    Worse,
    /// Equal, or the ranges of the repetitions are not clearly apart.
    Same,
    /// No verdict is sound; the reason says why.
    NotComparable,
    /// One side did not measure it.
    NotMeasured,
}

impl Verdict {
    /// The words for a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::NotComparable => "not comparable",
            Self::NotMeasured => "not measured",
        }
    }
}

/// One figure of a matched point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Name of the figure; the unit is in it.
    pub metric: &'static str,
    /// Of every repetition of the first run, in order.
    pub a: Vec<f64>,
    /// Of every repetition of the second run, in order.
    pub b: Vec<f64>,
    /// Largest less smallest of the first run, over their median; none for a single repetition.
    pub spread_a: Option<f64>,
    /// The same of the second run.
    pub spread_b: Option<f64>,
    /// Median of the second over median of the first; none where that has no meaning.
    pub ratio: Option<f64>,
    /// Verdict.
    pub verdict: Verdict,
    /// Why there is no verdict; empty where there is one.
    pub reason: String,
}

/// A point that both runs have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Clients asked for.
    pub clients_target: u64,
    /// Variant.
    pub variant: String,
    /// Its figures.
    pub figures: Vec<Figure>,
}

/// Two runs set beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Path of the first run.
    pub a: String,
    /// Path of the second run.
    pub b: String,
    /// How their circumstances differ.
    pub differences: Vec<Difference>,
    /// Points that both have.
    pub points: Vec<Point>,
    /// Points that one run lacks, and measurements that are not ok, for a person.
    pub left_out: Vec<String>,
}

impl Comparison {
    /// Whether a figure is worse, its median by more than `tolerance`, a share. What was nothing before is worse by any
    /// amount.
    pub fn is_worse(&self, tolerance: f64) -> bool {
        let beyond = |f: &Figure| f.ratio.is_none_or(|ratio| ratio.max(1.0 / ratio) - 1.0 > tolerance);
        self.points.iter().flat_map(|p| &p.figures).any(|f| f.verdict == Verdict::Worse && beyond(f))
    }

    /// Whether verdicts are lacking: the machines differ, nothing matches, or a figure has too few repetitions.
    pub fn is_incomplete(&self) -> bool {
        let judged = |v: Verdict| matches!(v, Verdict::Better | Verdict::Worse | Verdict::Same);
        !self.verdicts().any(judged) || self.verdicts().any(|v| v == Verdict::NotComparable)
    }

    /// How many figures got `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts().filter(|v| *v == verdict).count()
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.points.iter().flat_map(|p| p.figures.iter().map(|f| f.verdict))
    }
}

type Key = (u64, String);

/// Sets `b` beside `a`.
pub fn compare(a: &RunDir, b: &RunDir) -> Comparison {
    let path = |run: &RunDir| run.path.display().to_string();
    beside((path(a), &a.points), (path(b), &b.points), hosts::differences(a, b))
}

/// Sets rows beside others, both with a name.
pub(super) fn beside(
    (a, rows_a): (String, &[PointRow]),
    (b, rows_b): (String, &[PointRow]),
    differences: Vec<Difference>,
) -> Comparison {
    let same_class = !differences.iter().any(|d| d.forbids_verdict);
    let (points_a, points_b) = (by_key(rows_a), by_key(rows_b));
    let mut points = Vec::new();
    let mut left_out = Vec::new();
    for (key, rows_a) in &points_a {
        match points_b.get(key) {
            Some(rows_b) => points.push(Point {
                clients_target: key.0,
                variant: key.1.clone(),
                figures: figures(rows_a, rows_b, same_class),
            }),
            None => left_out.push(format!("only in A: {}", point_name(key))),
        }
    }
    let only_b = points_b.keys().filter(|key| !points_a.contains_key(*key));
    left_out.extend(only_b.map(|key| format!("only in B: {}", point_name(key))));
    for (side, rows) in [("A", rows_a), ("B", rows_b)] {
        left_out.extend(rows.iter().filter(|p| p.status != Status::Ok).map(|p| not_ok(side, p)));
    }
    Comparison { a, b, differences, points, left_out }
}

fn by_key(rows: &[PointRow]) -> BTreeMap<Key, Vec<&PointRow>> {
    let mut out: BTreeMap<Key, Vec<&PointRow>> = BTreeMap::new();
    for row in rows {
        out.entry((row.clients_target, row.variant.clone())).or_default().push(row);
    }
    out
}

/// A matched point's name for a person.
pub fn point_name((clients, variant): &(u64, String)) -> String {
    let variant = if variant.is_empty() { String::new() } else { format!(", {variant}") };
    format!("{} clients{variant}", number::count(*clients))
}

fn not_ok(side: &str, p: &PointRow) -> String {
    let name = point_name(&(p.clients_target, p.variant.clone()));
    let reason = if p.reason.is_empty() { String::new() } else { format!(": {}", p.reason) };
    format!("{} in {side}: {name}, repetition {}{reason}", status_name(p.status), p.repetition + 1)
}

fn figures(a: &[&PointRow], b: &[&PointRow], same_class: bool) -> Vec<Figure> {
    let ok = |rows: &[&PointRow]| rows.iter().copied().filter(|p| p.status == Status::Ok).cloned().collect::<Vec<_>>();
    let all = |rows: &[&PointRow]| rows.iter().copied().cloned().collect::<Vec<_>>();
    let (ok_a, ok_b) = (ok(a), ok(b));
    let met = judge(&MET, &all(a), &all(b), same_class);
    let rest = METRICS.iter().map(|metric| judge(metric, &ok_a, &ok_b, same_class));
    std::iter::once(met).chain(rest).filter(|f| !f.a.is_empty() || !f.b.is_empty()).collect()
}

fn judge(metric: &Metric, rows_a: &[PointRow], rows_b: &[PointRow], same_class: bool) -> Figure {
    let values = |rows: &[PointRow]| rows.iter().filter_map(metric.of).filter(|v| v.is_finite()).collect::<Vec<_>>();
    let (a, b) = (values(rows_a), values(rows_b));
    let ratio = match (median(&a), median(&b)) {
        (Some(x), Some(y)) if x != 0.0 => Some(y / x),
        _ => None,
    };
    let (verdict, reason) = verdict(metric, rows_a, rows_b, (&a, &b), same_class);
    let (spread_a, spread_b) = (spread(&a), spread(&b));
    Figure { metric: metric.name, a, b, spread_a, spread_b, ratio, verdict, reason: reason.to_owned() }
}

fn verdict(
    metric: &Metric,
    rows_a: &[PointRow],
    rows_b: &[PointRow],
    (a, b): (&[f64], &[f64]),
    same_class: bool,
) -> (Verdict, &'static str) {
    let (Some((a_min, a_max)), Some((b_min, b_max))) = (range(a), range(b)) else {
        return (Verdict::NotMeasured, if a.is_empty() { "not in A" } else { "not in B" });
    };
    if !same_class {
        return (Verdict::NotComparable, "the machines differ");
    }
    if metric.of_broadcast && payloads(rows_a) != payloads(rows_b) {
        return (Verdict::NotComparable, "the payloads differ");
    }
    if sorted(a) == sorted(b) {
        return (Verdict::Same, "");
    }
    if a.len() < REPETITIONS_MIN || b.len() < REPETITIONS_MIN {
        return (Verdict::NotComparable, "a single repetition");
    }
    let gap = (b_min - a_max).max(a_min - b_max);
    let wide = (a_max - a_min).max(b_max - b_min);
    if gap <= wide || gap <= MEANINGLESS * a_max.abs().max(b_max.abs()) {
        return (Verdict::Same, "");
    }
    let higher = b_min > a_max;
    let better = higher == (metric.better == Better::Higher);
    (if better { Verdict::Better } else { Verdict::Worse }, "")
}

fn payloads(rows: &[PointRow]) -> Vec<Option<u64>> {
    let mut sizes: Vec<_> = rows.iter().map(|p| p.payload_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    crate::draw::scale::range(values.iter().copied())
}

fn spread(values: &[f64]) -> Option<f64> {
    let (low, high) = range(values).filter(|_| values.len() > 1)?;
    let middle = median(values).filter(|&middle| middle != 0.0)?;
    Some((high - low) / middle)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len().checked_sub(1)? / 2;
    let upper = sorted.len() / 2;
    Some(f64::midpoint(*sorted.get(middle)?, *sorted.get(upper)?))
}
