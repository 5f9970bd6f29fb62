//! Chart 1, *Simultaneous users*: attempted and joined clients over the seconds since each point's first arrival, as the
//! load generator's chart of 2015 had it.

use std::collections::BTreeMap;

use c2m_schema::rows::Status;

use super::series::{self, Clients, Key};
use crate::draw::canvas::{Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, Axis, EndLabel, LABEL_SIZE, Panel, fit};
use crate::draw::scale::Scale;
use crate::draw::thin;
use crate::rundir::{RunDir, status_name};

/// Title.
pub(super) const TITLE: &str = "Simultaneous users";

const UNITS: &str = "clients that tried to connect and clients joined to the room, over seconds";

/// Widest label: a variant's name may be of any length.
const LABEL_WIDTH: f64 = 520.0;

const ATTEMPTED: Color = palette::ORANGE;
const JOINED: Color = palette::BLUE;

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let samples = run.samples()?;
    let groups: BTreeMap<Key, Vec<Clients>> = series::by_repetition(samples)
        .into_iter()
        .map(|(key, samples)| (key, series::clients(run, key, &samples)))
        .filter(|(_, clients)| !clients.is_empty())
        .collect();
    let all = || groups.values().flatten();
    let Some(peak) = all().map(|c| c.attempted.max(c.live)).max() else {
        return Err(Blank::Empty("samples.csv has no client counts of an agent".to_owned()));
    };
    let seconds = all().map(|c| c.seconds).fold(0.0, f64::max);
    let style = Type::new(LABEL_SIZE, JOINED).bold();
    let mut labels = labels(run, &groups);
    for label in &mut labels {
        label.0 = fit(&label.0, style, LABEL_WIDTH);
    }
    let room = labels.iter().map(|l| style.width(&l.0)).fold(0.0, f64::max) + 24.0;
    let plot = Rect { x0: 104.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - room, y1: BODY.y1 - AXIS_ROOM };
    let panel = Panel::new(plot, Scale::linear_tight(0.0, seconds, 10), Scale::linear(0.0, peak as f64 * 1.03, 6));
    let mut canvas = Canvas::default();
    let x = Axis { title: "seconds since the first arrival", format: &number::significant };
    panel.axes(&mut canvas, Some(&x), &Axis { title: "clients", format: &number::short });
    for clients in groups.values() {
        // The wide line lies below: where all who tried are joined, it shows as a rim.
        line(&mut canvas, &panel, clients.iter().map(|c| (c.seconds, c.attempted)), ATTEMPTED, 11.0);
    }
    for clients in groups.values() {
        line(&mut canvas, &panel, clients.iter().map(|c| (c.seconds, c.live)), JOINED, 4.0);
    }
    for (key, clients) in &groups {
        let target = run.point(key.0, key.1).map_or(0, |p| p.clients_target);
        for c in clients {
            let Some(at) = panel.at(c.seconds, c.live as f64) else { continue };
            canvas.spot(at, || {
                let [target, live, attempted] = [target, c.live, c.attempted].map(number::count);
                let since = number::significant(c.seconds);
                format!("{live} joined\n{attempted} attempted, of {target}\n{since} s after the first arrival")
            });
        }
    }
    let labels: Vec<EndLabel> = labels
        .into_iter()
        .filter_map(|(text, (x, y), color)| Some(EndLabel { text, at: panel.at(x, y)?, color, bold: color == JOINED }))
        .collect();
    panel.end_labels(&mut canvas, &labels, LABEL_SIZE);
    let legend = vec![("attempted", ATTEMPTED), ("joined", JOINED)];
    Ok(Figure { title: TITLE.to_owned(), subtitle: subtitle(&groups), legend, units: UNITS, notes: notes(run), canvas })
}

pub(super) fn line(
    canvas: &mut Canvas,
    panel: &Panel,
    points: impl Iterator<Item = (f64, u64)>,
    color: Color,
    width: f64,
) {
    for part in series::without_holes(points.map(|(s, n)| (s, n as f64)).collect()) {
        let pixels: Vec<_> = part.into_iter().filter_map(|(s, n)| panel.at(s, n)).collect();
        if let [only] = pixels[..] {
            canvas.dot(only, width, color);
        }
        canvas.path(thin::per_pixel(pixels), color, width);
    }
}

type Label = (String, (f64, f64), Color);

/// One label, or a pair where not all who tried are joined, for the repetitions of a point that end alike.
fn labels(run: &RunDir, groups: &BTreeMap<Key, Vec<Clients>>) -> Vec<Label> {
    let mut ends: BTreeMap<(u32, u64, u64), Vec<(Key, Clients)>> = BTreeMap::new();
    for (key, clients) in groups {
        if let Some(last) = clients.last() {
            ends.entry((key.0, last.attempted, last.live)).or_default().push((*key, *last));
        }
    }
    let mut out = Vec::new();
    for ((_, attempted, live), members) in ends {
        let Some((key, last)) = members.iter().max_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds)) else { continue };
        let variant = run.point(key.0, key.1).map(|p| p.variant.as_str()).filter(|v| !v.is_empty());
        let variant = variant.map(|v| format!(", {v}")).unwrap_or_default();
        let of_point = groups.keys().filter(|k| k.0 == key.0).count();
        let times =
            if members.len() == of_point { String::new() } else { format!(" ({} of {of_point})", members.len()) };
        out.push((format!("{} joined{variant}{times}", number::count(live)), (last.seconds, live as f64), JOINED));
        if attempted != live {
            let text = format!("{} attempted{times}", number::count(attempted));
            out.push((text, (last.seconds, attempted as f64), ATTEMPTED));
        }
    }
    out
}

fn subtitle(groups: &BTreeMap<Key, Vec<Clients>>) -> String {
    let most = groups.values().flatten().map(|c| c.live).max().unwrap_or(0);
    let mut repetitions: BTreeMap<u32, usize> = BTreeMap::new();
    for (point, _) in groups.keys() {
        *repetitions.entry(*point).or_default() += 1;
    }
    let plural = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let most_repetitions = repetitions.values().copied().max().unwrap_or(0);
    let steps = format!("{}, {}", plural(repetitions.len(), "step"), plural(most_repetitions, "repetition"));
    format!("At most {} clients joined at once · {steps}", number::count(most))
}

fn notes(run: &RunDir) -> Vec<String> {
    let not_ok = run.points.iter().filter(|p| p.status != Status::Ok);
    let note = |p: &c2m_schema::rows::PointRow| {
        let reason = if p.reason.is_empty() { String::new() } else { format!(": {}", p.reason) };
        format!("{} clients {}{reason}", number::short(p.clients_target as f64), status_name(p.status))
    };
    let mut notes: Vec<String> = not_ok.map(note).collect();
    notes.dedup();
    notes
}
