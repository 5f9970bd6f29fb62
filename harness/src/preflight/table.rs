//! The checks as a table for people. Pure.

use std::fmt::Write as _;

use super::{Check, PointChecks, Verdict};
use crate::text::count;

/// All points, one block each. With `brief`, a point that fits is one line.
pub fn table(points: &[PointChecks], brief: bool) -> String {
    let mut text = String::new();
    for p in points {
        let verdict = match p.verdict() {
            Verdict::Fits => "fits",
            Verdict::Warn => "fits, with warnings",
            Verdict::Refuse => "does not fit",
        };
        let variant = if p.point.variant.is_empty() { String::new() } else { format!(", {}", p.point.variant) };
        line(&mut text, &format!("point {}: {} clients{variant}: {verdict}", p.point.index, count(p.point.clients)));
        let shown: Vec<&Check> = p.checks.iter().filter(|c| !brief || c.verdict != Verdict::Fits).collect();
        block(&mut text, &shown);
    }
    let mut remedies: Vec<&str> = Vec::new();
    for remedy in points.iter().flat_map(|p| &p.checks).flat_map(|c| &c.remedy) {
        if !remedies.contains(&remedy.as_str()) {
            remedies.push(remedy);
        }
    }
    if !remedies.is_empty() {
        line(&mut text, "what raises it:");
        for remedy in remedies {
            line(&mut text, &format!("  {remedy}"));
        }
    }
    text
}

fn block(text: &mut String, checks: &[&Check]) {
    let width = |cell: &dyn Fn(&Check) -> usize| checks.iter().map(|c| cell(c)).max().unwrap_or(0);
    let what = width(&|c| c.what.chars().count());
    let need = width(&|c| c.need.chars().count());
    let have = width(&|c| c.have.chars().count());
    for c in checks {
        let mark = match c.verdict {
            Verdict::Fits => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Refuse => "NO  ",
        };
        let row = format!("  {mark} {:what$}  needs {:need$}  has {:have$}  {}", c.what, c.need, c.have, c.note);
        line(text, row.trim_end());
    }
}

fn line(text: &mut String, content: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{content}");
}
