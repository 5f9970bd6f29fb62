//! A comparison as text, Markdown, CSV and JSON. Pure functions.

use std::fmt::Write as _;

use super::judge::{Comparison, Figure, Point, Verdict, point_name};
use super::metrics::{MET, METRICS};

fn show(figure: &Figure, values: &[f64]) -> String {
    let known = METRICS.iter().chain([&MET]).find(|m| m.name == figure.metric);
    let one = |v: &f64| known.map_or_else(|| v.to_string(), |m| m.unit.show(*v));
    if values.is_empty() { "—".to_owned() } else { values.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn ratio(figure: &Figure) -> String {
    figure.ratio.map_or_else(|| "—".to_owned(), |r| format!("{r:.3}"))
}

fn verdict(figure: &Figure) -> String {
    let name = figure.verdict.name();
    if figure.reason.is_empty() { name.to_owned() } else { format!("{name}: {}", figure.reason) }
}

fn summary(c: &Comparison) -> String {
    let of = |v: Verdict| format!("{} {}", c.count(v), v.name());
    let kinds = [Verdict::Better, Verdict::Worse, Verdict::Same, Verdict::NotComparable, Verdict::NotMeasured];
    let counts = kinds.into_iter().filter(|v| c.count(*v) > 0).map(of).collect::<Vec<_>>().join(", ");
    if counts.is_empty() { "no point is in both runs".to_owned() } else { counts }
}

/// How far repetitions of one run were apart, A and B.
fn spread(figure: &Figure) -> String {
    let one = |spread: Option<f64>| spread.map_or_else(|| "—".to_owned(), |s| format!("{:.1} %", s * 100.0));
    format!("{}, {}", one(figure.spread_a), one(figure.spread_b))
}

const HEAD: [&str; 6] = ["metric", "A", "B", "B/A", "spread A, B", "verdict"];

fn cells(figure: &Figure) -> [String; 6] {
    let (a, b) = (show(figure, &figure.a), show(figure, &figure.b));
    [figure.metric.to_owned(), a, b, ratio(figure), spread(figure), verdict(figure)]
}

fn key(point: &Point) -> (u64, String) {
    (point.clients_target, point.variant.clone())
}

/// For a terminal.
pub(crate) fn text(c: &Comparison) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "A  {}\nB  {}\n", c.a, c.b);
    out += &differences(c);
    for point in &c.points {
        let _ = writeln!(out, "\n{}", point_name(&key(point)));
        let head = HEAD.map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(point.figures.iter().map(cells)).collect();
        out += &aligned(&rows);
    }
    if !c.left_out.is_empty() {
        out += "\nLeft out\n";
        for line in &c.left_out {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = writeln!(out, "\nB against A: {}", summary(c));
    out
}

/// The differences of the circumstances, for a terminal.
pub(super) fn differences(c: &Comparison) -> String {
    let mut out = String::new();
    if c.differences.is_empty() {
        return "Machine, settings and programs are the same.\n".to_owned();
    }
    if c.differences.iter().any(|d| d.forbids_verdict) {
        out += "The machines differ, so there is no verdict:\n";
    } else {
        out += "Same CPU, cores, memory and kernel major. What differs:\n";
    }
    let rows: Vec<[String; 4]> = c
        .differences
        .iter()
        .map(|d| {
            let weight = if d.forbids_verdict { "forbids a verdict" } else { "warning" };
            [d.what.clone(), d.a.clone(), d.b.clone(), weight.to_owned()]
        })
        .collect();
    out + &aligned(&rows)
}

/// Columns padded to their widest cell, two spaces between.
pub(super) fn aligned<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(row.as_ref().len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

/// For an issue or a pull request.
pub(super) fn markdown(c: &Comparison) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "A: `{}`  \nB: `{}`\n", c.a, c.b);
    if c.differences.is_empty() {
        out += "Machine, settings and programs are the same.\n";
    } else {
        out += "| differs | A | B | weight |\n| --- | --- | --- | --- |\n";
        for d in &c.differences {
            let weight = if d.forbids_verdict { "**forbids a verdict**" } else { "warning" };
            let _ = writeln!(out, "| {} | {} | {} | {weight} |", bar(&d.what), bar(&d.a), bar(&d.b));
        }
    }
    for point in &c.points {
        let _ = writeln!(out, "\n### {}\n", point_name(&key(point)));
        let _ = writeln!(out, "| {} |\n| --- | ---: | ---: | ---: | ---: | --- |", HEAD.join(" | "));
        for figure in &point.figures {
            let _ = writeln!(out, "| {} |", cells(figure).map(|c| bar(&c)).join(" | "));
        }
    }
    if !c.left_out.is_empty() {
        out += "\nLeft out:\n\n";
        for line in &c.left_out {
            let _ = writeln!(out, "- {line}");
        }
    }
    let _ = writeln!(out, "\nB against A: {}", summary(c));
    out
}

fn bar(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// One row per figure, in the base units that the names say; the values of the repetitions are joined by `;`.
pub(super) fn csv(comparisons: &[Comparison]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "a",
        "b",
        "clients_target",
        "variant",
        "metric",
        "a_values",
        "b_values",
        "ratio",
        "verdict",
        "reason",
        "a_spread",
        "b_spread",
    ])?;
    let join = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(";");
    for c in comparisons {
        for point in &c.points {
            for f in &point.figures {
                let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
                let clients = point.clients_target.to_string();
                writer.write_record([
                    c.a.as_str(),
                    &c.b,
                    &clients,
                    &point.variant,
                    f.metric,
                    &join(&f.a),
                    &join(&f.b),
                    &number(f.ratio),
                    f.verdict.name(),
                    &f.reason,
                    &number(f.spread_a),
                    &number(f.spread_b),
                ])?;
            }
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
