//! Chart 6, arrival: on the left connect, upgrade and join latency against clients, on the right joins per second against
//! clients already held.

use c2m_schema::rows::PointRow;

use super::series;
use crate::draw::canvas::{Anchor, Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, AXIS_SIZE, Axis, EndLabel, Panel, fit};
use crate::draw::scale::{Scale, range};
use crate::draw::thin;
use crate::rundir::RunDir;

/// Title.
pub(super) const TITLE: &str = "Arrival";

const UNITS: &str = "latency in seconds from when a client was due to arrive; rate in clients joined per second";

/// A percentile: name, colour, nanoseconds out of a row.
type Percentile = (&'static str, Color, fn(&PointRow) -> Option<u64>);

const PERCENTILES: [Percentile; 5] = [
    ("join max", palette::INK, |p| p.join_max_ns),
    ("join p99", palette::VERMILION, |p| p.join_p99_ns),
    ("upgrade p99", palette::ORANGE, |p| p.upgrade_p99_ns),
    ("connect p99", palette::GREEN, |p| p.connect_p99_ns),
    ("join p50", palette::BLUE, |p| p.join_p50_ns),
];

/// Clients held and joins per second, of one repetition.
type Rates = Vec<(f64, f64)>;

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let samples = run.samples()?;
    let mut rates: Vec<(u64, Rates)> = series::by_repetition(samples)
        .into_iter()
        .map(|(key, samples)| {
            let target = run.point(key.0, key.1).map_or(0, |p| p.clients_target);
            (target, rates(&series::clients(run, key, &samples)))
        })
        .filter(|(_, rates)| !rates.is_empty())
        .collect();
    rates.sort_by_key(|(target, _)| *target);
    let measured = run.points.iter().any(|p| PERCENTILES.iter().any(|(.., of)| of(p).is_some()));
    if rates.is_empty() && !measured {
        return Err(Blank::Empty("no client arrived".to_owned()));
    }
    let mut canvas = Canvas::default();
    latencies(&mut canvas, run);
    rate_lines(&mut canvas, &rates);
    Ok(Figure {
        title: TITLE.to_owned(),
        subtitle: subtitle(run),
        legend: Vec::new(),
        units: UNITS,
        notes: Vec::new(),
        canvas,
    })
}

/// Joins per second between samples, over at least a second, while clients still arrive.
fn rates(clients: &[series::Clients]) -> Rates {
    let mut out = Vec::new();
    let Some(mut from) = clients.first() else { return out };
    for now in clients {
        if now.seconds - from.seconds >= 0.9 {
            if now.live > from.live {
                let rate = (now.live - from.live) as f64 / (now.seconds - from.seconds);
                out.push((now.live as f64, rate));
            }
            from = now;
        }
    }
    // The last second was not full of arrivals.
    if out.len() > 1 {
        out.pop();
    }
    out
}

fn nothing(canvas: &mut Canvas, plot: &Rect, text: &str) {
    let style = Type::new(22.0, palette::MUTED).anchor(Anchor::Middle);
    canvas.text(text, (f64::midpoint(plot.x0, plot.x1), f64::midpoint(plot.y0, plot.y1)), style);
}

fn latencies(canvas: &mut Canvas, run: &RunDir) {
    let plot = Rect { x0: 120.0, y0: BODY.y0 + 40.0, x1: 490.0, y1: BODY.y1 - AXIS_ROOM };
    let held = |p: &PointRow| p.joined.filter(|n| *n > 0).map(|n| n as f64);
    let dots = |of: fn(&PointRow) -> Option<u64>| {
        let mut dots: Vec<_> =
            run.points.iter().filter_map(|p| Some((held(p)?, of(p)? as f64))).filter(|d| d.1 > 0.0).collect();
        dots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        dots
    };
    let all: Vec<(f64, f64)> = PERCENTILES.iter().flat_map(|(.., of)| dots(*of)).collect();
    let (Some(x), Some(y)) = (range(all.iter().map(|d| d.0)), range(all.iter().map(|d| d.1))) else {
        return nothing(canvas, &plot, "points.csv has no arrival latency");
    };
    let panel = Panel::new(plot, Scale::log(x.0, x.1), Scale::log(y.0, y.1));
    let clients = Axis { title: "clients arrived", format: &number::short };
    panel.axes(canvas, Some(&clients), &Axis { title: "latency", format: &number::duration });
    let mut ends = Vec::new();
    for (name, color, of) in &PERCENTILES {
        let dots = dots(*of);
        let middle = |same: &[(f64, f64)]| Some((same.first()?.0, series::median(same.iter().map(|d| d.1).collect())?));
        let medians = dots.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()).filter_map(middle);
        let pixels: Vec<_> = medians.filter_map(|(x, y)| panel.at(x, y)).collect();
        dots.iter().filter_map(|(x, y)| panel.at(*x, *y)).for_each(|at| canvas.dot(at, 4.0, *color));
        for (clients, ns) in &dots {
            let Some(at) = panel.at(*clients, *ns) else { continue };
            let of = || format!("{name}: {}\n{} clients", number::duration(*ns), number::count(*clients as u64));
            canvas.spot(at, of);
        }
        ends.extend(pixels.last().map(|at| EndLabel { text: (*name).to_owned(), at: *at, color: *color, bold: true }));
        canvas.path(pixels, *color, 2.0);
    }
    panel.end_labels(canvas, &ends, AXIS_SIZE);
}

fn rate_lines(canvas: &mut Canvas, rates: &[(u64, Rates)]) {
    let plot = Rect { x0: 780.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - 150.0, y1: BODY.y1 - AXIS_ROOM };
    let all = || rates.iter().flat_map(|r| &r.1);
    let (Some(x), Some(y)) = (range(all().map(|r| r.0)), range(all().map(|r| r.1))) else {
        return nothing(canvas, &plot, "arrivals were over before two samples");
    };
    let panel = Panel::new(plot, Scale::linear_tight(0.0, x.1, 4), Scale::linear(0.0, y.1, 6));
    let held = Axis { title: "clients held", format: &number::short };
    panel.axes(canvas, Some(&held), &Axis { title: "joins per second", format: &number::short });
    let mut targets: Vec<u64> = rates.iter().map(|r| r.0).collect();
    targets.dedup();
    let mut ends: Vec<EndLabel> = Vec::new();
    let mut named: Vec<u64> = Vec::new();
    for (target, rates) in rates {
        let color = palette::ordered(targets.iter().position(|t| t == target).unwrap_or(0), targets.len());
        let pixels: Vec<_> = rates.iter().filter_map(|(n, r)| panel.at(*n, *r)).collect();
        if let [only] = pixels[..] {
            canvas.dot(only, 4.0, color);
        }
        for (held, rate) in rates {
            let Some(at) = panel.at(*held, *rate) else { continue };
            canvas.spot(at, || {
                let [held, rate, target] = [*held as u64, *rate as u64, *target].map(number::count);
                format!("{rate} joins per second\nwith {held} of {target} clients held")
            });
        }
        if let Some(at) = pixels.last().filter(|_| !named.contains(target)) {
            named.push(*target);
            ends.push(EndLabel { text: number::short(*target as f64), at: *at, color, bold: true });
        }
        canvas.path(thin::per_pixel(pixels), color, 2.0);
    }
    panel.end_labels(canvas, &joined(ends), AXIS_SIZE);
}

/// Labels whose lines end at one height as one: the first and the last of them where it is all, else each.
fn joined(mut ends: Vec<EndLabel>) -> Vec<EndLabel> {
    let all = ends.len();
    ends.reverse();
    let mut groups: Vec<Vec<EndLabel>> = Vec::new();
    for end in ends {
        match groups.iter_mut().find(|g| (g[0].at.1 - end.at.1).abs() < AXIS_SIZE / 2.0) {
            Some(group) => group.push(end),
            None => groups.push(vec![end]),
        }
    }
    groups
        .into_iter()
        .map(|mut group| {
            let texts: Vec<String> = group.iter().map(|l| l.text.clone()).collect();
            let text = match (texts.first(), texts.last()) {
                (Some(largest), Some(smallest)) if texts.len() == all && all > 2 => format!("{smallest}–{largest}"),
                _ => texts.join(", "),
            };
            let text = fit(&text, Type::new(AXIS_SIZE, palette::INK).bold(), 136.0);
            EndLabel { text, ..group.swap_remove(0) }
        })
        .collect()
}

fn subtitle(run: &RunDir) -> String {
    let best = run.points.iter().filter(|p| p.arrival_per_s.is_some()).max_by_key(|p| p.joined);
    match best.and_then(|p| Some((p.joined?, p.arrival_per_s?))) {
        Some((joined, rate)) => {
            format!("{} clients joined at {} per second", number::count(joined), number::count(rate.max(0.0) as u64))
        }
        None => "Clients over the arrival ramp".to_owned(),
    }
}
