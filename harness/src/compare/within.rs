//! One run whose points are of several servers: each of them set beside the first. Pure functions.

use std::fmt::Write as _;

use c2m_schema::rows::PointRow;

use super::hosts::Difference;
use super::judge::{Comparison, Point, beside, median, point_name};
use super::metrics::{METRICS, Metric};
use super::print::aligned;
use crate::report::definition;
use crate::rundir::RunDir;

/// Figures of the table of all servers, and how a person calls them.
const SHOWN: [(&str, &str); 8] = [
    ("joined", "joined"),
    ("arrival_per_s", "joins per s"),
    ("join_p99_ns", "join p99"),
    ("deliveries_missing", "missing"),
    ("last_delivery_p50_ns", "to all p50"),
    ("delivery_p99_ns", "delivery p99"),
    ("server_cpu_ns_per_million_deliveries", "server CPU per million deliveries"),
    ("server_user_bytes_per_client", "server per client"),
];

/// The servers of a run, in the order of its definition; none where they are not several.
pub(crate) fn servers(run: &RunDir) -> Vec<String> {
    let carriers = definition(run).map(|e| e.server.engine.0).unwrap_or_default();
    if carriers.len() > 1 { carriers.iter().map(ToString::to_string).collect() } else { Vec::new() }
}

/// The rows of one of the servers, without its name in their variants.
pub(crate) fn rows_of(run: &RunDir, server: &str) -> Vec<PointRow> {
    let rest = |p: &PointRow| match p.variant.split_once(", ") {
        Some((first, rest)) if first == server => Some(rest.to_owned()),
        _ => (p.variant == server).then(String::new),
    };
    run.points.iter().filter_map(|p| Some(PointRow { variant: rest(p)?, ..p.clone() })).collect()
}

/// Every server beside the first one; empty where the run has not several.
pub(super) fn comparisons(run: &RunDir) -> Vec<Comparison> {
    let servers = servers(run);
    let Some((first, others)) = servers.split_first() else { return Vec::new() };
    let rows = rows_of(run, first);
    let compared = |other: &String| {
        let (a, b) = (first.clone(), other.clone());
        let server = Difference { what: "server".into(), a: a.clone(), b: b.clone(), forbids_verdict: false };
        beside((a, &rows), (b, &rows_of(run, other)), vec![server])
    };
    others.iter().map(compared).collect()
}

/// The same point with each server.
pub(crate) struct Group {
    /// What it is a point of.
    pub(crate) name: String,
    /// Each server with its figures, the columns of [`heads`].
    pub(crate) servers: Vec<(String, Vec<String>)>,
}

/// The figures of [`Group`] as a person calls them.
pub(crate) fn heads() -> impl Iterator<Item = &'static str> {
    SHOWN.iter().map(|(_, head)| *head)
}

/// The table of all servers: medians, and in brackets how many times the first server's each is.
pub(crate) fn table(run: &RunDir) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (i, comparison) in comparisons(run).into_iter().enumerate() {
        for point in comparison.points {
            let name = point_name(&(point.clients_target, point.variant.clone()));
            if i == 0 {
                let first = (comparison.a.clone(), cells(&point, true));
                groups.push(Group { name: name.clone(), servers: vec![first] });
            }
            if let Some(group) = groups.iter_mut().find(|group| group.name == name) {
                group.servers.push((comparison.b.clone(), cells(&point, false)));
            }
        }
    }
    groups
}

fn cells(point: &Point, is_first: bool) -> Vec<String> {
    let cell = |(name, _): &(&str, &str)| {
        let figure = point.figures.iter().find(|figure| figure.metric == *name)?;
        let metric = METRICS.iter().find(|metric: &&Metric| metric.name == *name)?;
        let middle = median(if is_first { &figure.a } else { &figure.b })?;
        let multiple = figure.ratio.filter(|_| !is_first).map(|ratio| format!(" ({ratio:.2}\u{a0}×)"));
        Some(metric.unit.show(middle) + &multiple.unwrap_or_default())
    };
    SHOWN.iter().map(|shown| cell(shown).unwrap_or_else(|| "—".to_owned())).collect()
}

/// The table for a terminal, one row per figure; empty where the run has not several servers.
pub(crate) fn text(run: &RunDir) -> String {
    let mut out = String::new();
    for group in table(run) {
        let _ = writeln!(out, "{}: medians", group.name);
        let head = std::iter::once(String::new()).chain(group.servers.iter().map(|(server, _)| server.clone()));
        let mut rows: Vec<Vec<String>> = vec![head.collect()];
        for (i, name) in heads().enumerate() {
            let cells = group.servers.iter().map(|(_, cells)| cells[i].clone());
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
        out += &aligned(&rows);
    }
    out
}
