//! Chart 8, overlay: several runs in one chart, each in its colour and named beside its lines. Users over time, memory
//! against clients, and the delivery curve.

use std::collections::{BTreeMap, BTreeSet};

use c2m_schema::rows::PointRow;

use super::series::{self, Clients, Key};
use super::{broadcast, memory, users};
use crate::draw::canvas::{Anchor, Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::labels::Placer;
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, Axis, EndLabel, LABEL_SIZE, Panel, SMALL_SIZE, fit};
use crate::draw::scale::{Scale, range};
use crate::draw::thin;
use crate::rundir::RunDir;

/// Colours of the runs, in order: as many as can be laid over each other.
pub(in crate::draw) const COLORS: [Color; 6] =
    [palette::BLUE, palette::VERMILION, palette::GREEN, palette::PURPLE, palette::ORANGE, palette::INK];

/// Widest name of a run in a label.
const NAME_WIDTH: f64 = 230.0;

/// A run with its name and colour.
pub(in crate::draw) struct Named<'a> {
    pub(in crate::draw) run: &'a RunDir,
    pub(in crate::draw) name: String,
    pub(in crate::draw) color: Color,
}

impl Named<'_> {
    /// The name as it fits into a label.
    fn label(&self) -> String {
        fit(&self.name, Type::new(LABEL_SIZE, self.color).bold(), NAME_WIDTH)
    }
}

/// A kind of overlay.
pub(in crate::draw) struct Overlay {
    /// File name without its ending.
    pub(in crate::draw) name: &'static str,
    /// Title.
    pub(in crate::draw) title: &'static str,
    /// Draws it.
    pub(in crate::draw) draw: fn(&[Named<'_>]) -> Result<Figure, Blank>,
}

/// Every overlay.
pub(in crate::draw) const OVERLAYS: [Overlay; 3] = [
    Overlay { name: "users", title: users::TITLE, draw: users_over_time },
    Overlay { name: "memory", title: memory::TITLE, draw: memory_against_clients },
    Overlay { name: "broadcast", title: broadcast::TITLE, draw: delivery },
];

fn blank(runs: &[Named<'_>], what: &str) -> Blank {
    Blank::Empty(format!("none of the {} runs has {what}", runs.len()))
}

/// What a chart says of runs that have nothing for it, or a table that can't be read.
fn note(named: &Named<'_>, blank: &Blank) -> String {
    format!("{}: {}", named.name, blank.reason())
}

/// The runs' names in their colours, above the chart.
fn subtitle(runs: &[Named<'_>]) -> String {
    let names: Vec<&str> = runs.iter().map(|r| r.name.as_str()).collect();
    format!("Runs beside each other: {}", names.join(", "))
}

/// Of each point of a run the first repetition that has clients.
fn of_points(run: &RunDir) -> Result<Vec<(Key, Vec<Clients>)>, Blank> {
    let mut out: BTreeMap<u32, (Key, Vec<Clients>)> = BTreeMap::new();
    for (key, samples) in series::by_repetition(run.samples()?) {
        let clients = series::clients(run, key, &samples);
        if !clients.is_empty() && !out.contains_key(&key.0) {
            out.insert(key.0, (key, clients));
        }
    }
    Ok(out.into_values().collect())
}

/// Runs with what was read of each.
type Parts<'a, T> = Vec<(&'a Named<'a>, Vec<T>)>;

/// Each run with what was read of it; notes for those with nothing. Unreadable as a whole when one of them can't be read
/// and none has anything.
fn gather<'a, T>(
    runs: &'a [Named<'a>],
    of: impl Fn(&RunDir) -> Result<Vec<T>, Blank>,
) -> Result<(Parts<'a, T>, Vec<String>), Blank> {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut unreadable = None;
    for named in runs {
        match of(named.run) {
            Ok(parts) if !parts.is_empty() => out.push((named, parts)),
            Ok(_) => notes.push(format!("{} has nothing to show here", named.name)),
            Err(why) => {
                notes.push(note(named, &why));
                unreadable = Some(why).filter(|why| matches!(why, Blank::Unreadable(_))).or(unreadable);
            }
        }
    }
    match unreadable {
        Some(why) if out.is_empty() => Err(why),
        _ => Ok((out, notes)),
    }
}

fn users_over_time(runs: &[Named<'_>]) -> Result<Figure, Blank> {
    let (all, mut notes) = gather(runs, of_points)?;
    let counts = || all.iter().flat_map(|(_, points)| points.iter().flat_map(|p| &p.1));
    let Some(peak) = counts().map(|c| c.live).max() else { return Err(blank(runs, "client counts of an agent")) };
    let seconds = counts().map(|c| c.seconds).fold(0.0, f64::max);
    let plot = Rect { x0: 104.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - NAME_WIDTH - 130.0, y1: BODY.y1 - AXIS_ROOM };
    let panel = Panel::new(plot, Scale::linear_tight(0.0, seconds, 8), Scale::linear(0.0, peak as f64 * 1.03, 6));
    let mut canvas = Canvas::default();
    let x = Axis { title: "seconds since the first arrival", format: &number::significant };
    panel.axes(&mut canvas, Some(&x), &Axis { title: "clients joined", format: &number::short });
    let mut placer = Placer::new(plot);
    let (mut ends, mut smaller) = (Vec::new(), Vec::new());
    for (place, (named, points)) in all.iter().enumerate() {
        // The first lies below and is the widest: where runs go the same way, each shows as a rim.
        let width = 3.0 + 6.0 * (all.len() - 1 - place) as f64;
        for (_, clients) in points {
            users::line(&mut canvas, &panel, clients.iter().map(|c| (c.seconds, c.live)), named.color, width);
        }
        let last = |clients: &Vec<Clients>| clients.last().copied();
        let mut lasts: Vec<Clients> = points.iter().filter_map(|p| last(&p.1)).collect();
        lasts.sort_by_key(|c| c.live);
        let Some(most) = lasts.pop() else { continue };
        let text = format!("{}: {}", named.label(), number::short(most.live as f64));
        ends.extend(panel.at(most.seconds, most.live as f64).map(|at| EndLabel {
            text,
            at,
            color: named.color,
            bold: true,
        }));
        smaller.extend(lasts.into_iter().map(|c| (named.color, c)));
    }
    panel.end_labels(&mut canvas, &ends, LABEL_SIZE);
    for (_, clients) in &smaller {
        if let Some((x, y)) = panel.at(clients.seconds, clients.live as f64) {
            placer.take(Rect { x0: x - 60.0, y0: y - 6.0, x1: x, y1: y + 6.0 });
        }
    }
    for (color, clients) in smaller {
        let style = Type::new(SMALL_SIZE, palette::text(color));
        let text = number::short(clients.live as f64);
        let at = panel.at(clients.seconds, clients.live as f64);
        if let Some(room) = at.and_then(|at| placer.place(at, style.width(&text), SMALL_SIZE * 1.1, 8.0)) {
            canvas.halo(text, (room.x0, f64::midpoint(room.y0, room.y1)), style);
        }
    }
    notes.insert(0, "of each step the first repetition".to_owned());
    let units = "clients joined to the room, over seconds";
    let title = users::TITLE.to_owned();
    Ok(Figure { title, subtitle: subtitle(runs), legend: Vec::new(), units, notes, canvas })
}

fn memory_against_clients(runs: &[Named<'_>]) -> Result<Figure, Blank> {
    let kinds = || memory::KINDS.iter().filter(|k| k.0 != "kernel");
    let lines = |run: &RunDir| -> Result<Vec<memory::Line>, Blank> {
        Ok(kinds().map(|kind| memory::line(&run.points, kind)).filter(|l| !l.medians.is_empty()).collect())
    };
    let (all, mut notes) = gather(runs, lines)?;
    let dots = || all.iter().flat_map(|(_, lines)| lines.iter().flat_map(|l| l.dots.iter().copied()));
    let (Some(clients), Some(bytes)) = (range(dots().map(|d| d.0)), range(dots().map(|d| d.1))) else {
        return Err(blank(runs, "a point with both clients and memory above zero"));
    };
    let plot = Rect { x0: 128.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - NAME_WIDTH - 230.0, y1: BODY.y1 - AXIS_ROOM };
    let (x, y) = (Scale::log(clients.0 * 0.8, clients.1 * 1.1), Scale::log(bytes.0 * 0.8, bytes.1 * 1.2));
    let panel = Panel::new(plot, x, y);
    let mut canvas = Canvas::default();
    let x = Axis { title: "clients held", format: &number::short };
    panel.axes(&mut canvas, Some(&x), &Axis { title: "memory in use", format: &number::bytes });
    let mut ends = Vec::new();
    for (place, (named, lines)) in all.iter().enumerate() {
        let width = 3.0 + 6.0 * (all.len() - 1 - place) as f64;
        for line in lines {
            let pixels: Vec<_> = line.medians.iter().filter_map(|(c, b)| panel.at(*c, *b)).collect();
            let dots = line.dots.iter().filter_map(|(c, b)| panel.at(*c, *b));
            dots.for_each(|at| canvas.dot(at, 4.0 + width / 2.0, named.color));
            if let (Some(at), Some((c, b))) = (pixels.last(), line.medians.last()) {
                let text = format!("{}: {} {} each", named.label(), line.name, number::bytes(b / c));
                ends.push(EndLabel { text, at: *at, color: named.color, bold: true });
            }
            canvas.path(pixels, named.color, width);
        }
    }
    panel.end_labels(&mut canvas, &ends, SMALL_SIZE);
    notes.insert(0, "all-in: server, load agents and kernel, above their baselines".to_owned());
    let title = memory::TITLE.to_owned();
    Ok(Figure { title, subtitle: subtitle(runs), legend: Vec::new(), units: memory::UNITS, notes, canvas })
}

/// Clients of the largest point with a broadcast that every run has; none where they have none in common.
fn common(runs: &[(&Named<'_>, Vec<Sent>)]) -> Option<u64> {
    let targets = |sent: &[Sent]| sent.iter().map(|s| s.clients).collect::<BTreeSet<u64>>();
    let shared = runs.iter().map(|(_, sent)| targets(sent)).reduce(|a, b| &a & &b)?;
    shared.into_iter().max()
}

/// One broadcast: the clients its point asked for, and when which share of them was reached.
struct Sent {
    clients: u64,
    curve: Vec<(f64, f64)>,
}

fn sent(run: &RunDir) -> Result<Vec<Sent>, Blank> {
    let (rows, latency) = (run.broadcasts()?, run.latency()?);
    let target = |point: u32, repetition: u32| run.point(point, repetition).map(|p: &PointRow| p.clients_target);
    let with_target = |b: broadcast::Broadcast<'_>| {
        let clients = target(b.row.point, b.row.repetition).unwrap_or(b.row.expected);
        Sent { clients, curve: b.curve }
    };
    let all = broadcast::join(&rows, &latency).into_iter().map(with_target);
    Ok(all.filter(|s| !s.curve.is_empty()).collect())
}

fn delivery(runs: &[Named<'_>]) -> Result<Figure, Blank> {
    let (all, mut notes) = gather(runs, sent)?;
    let common = common(&all).filter(|_| all.len() > 1);
    let shown: Vec<(&Named<'_>, u64, Vec<&Sent>)> = all
        .iter()
        .filter_map(|(named, sent)| {
            let clients = common.or(sent.iter().map(|s| s.clients).max())?;
            Some((*named, clients, sent.iter().filter(|s| s.clients == clients).collect()))
        })
        .collect();
    let times = || shown.iter().flat_map(|(.., sent)| sent.iter().flat_map(|s| s.curve.iter().map(|p| p.0)));
    let Some((_, most)) = range(times()) else { return Err(blank(runs, "a delivered broadcast")) };
    let plot = Rect { x0: 104.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - 40.0, y1: BODY.y1 - AXIS_ROOM };
    let panel = Panel::new(plot, Scale::linear_tight(0.0, most * 1.02, 8), Scale::linear(0.0, 1.0, 5));
    let mut canvas = Canvas::default();
    let x = Axis { title: "time since the message was due", format: &number::duration };
    let share = |v: f64| format!("{:.0} %", v * 100.0);
    panel.axes(&mut canvas, Some(&x), &Axis { title: "clients reached", format: &share });
    let mut labels = Vec::new();
    for (place, (named, clients, sent)) in shown.iter().enumerate() {
        for one in sent {
            let from = std::iter::once((0.0, 0.0)).chain(one.curve.first().map(|p| (p.0, 0.0)));
            let pixels: Vec<_> =
                from.chain(one.curve.iter().copied()).filter_map(|(ns, share)| panel.at(ns, share)).collect();
            canvas.path_alpha(thin::per_pixel(pixels), named.color, 3.0, 0.85);
        }
        // Beside its own curves, each run at a height of its own.
        let height = 0.88 - 0.76 * place as f64 / shown.len() as f64;
        let crossing = |s: &&Sent| s.curve.iter().find(|p| p.1 >= height).map(|p| p.0);
        let all_reached = series::median(sent.iter().filter_map(|s| s.curve.last().map(|p| p.0)).collect());
        let beside = range(sent.iter().filter_map(crossing)).and_then(|(_, last)| panel.at(last, height));
        if let (Some(ns), Some(at)) = (all_reached, beside) {
            let text = format!("{}: {} in {}", named.label(), number::short(*clients as f64), number::duration(ns));
            labels.push((text, at, ns, named.color));
        }
    }
    // The fastest has free room on its left, the others on their right.
    let fastest = labels.iter().map(|l| l.2).fold(f64::INFINITY, f64::min);
    for (text, (x, y), ns, color) in labels {
        let style = Type::new(LABEL_SIZE, palette::text(color)).bold();
        let (left, right) = (x - 40.0 - style.width(&text) >= plot.x0, x + 14.0 + style.width(&text) <= plot.x1);
        if (ns <= fastest && left) || !right {
            canvas.halo(text, (x - 34.0, y), style.anchor(Anchor::End));
        } else {
            canvas.halo(text, (x + 14.0, y), style);
        }
    }
    notes.insert(
        0,
        match common {
            Some(clients) => format!("largest step that all have: {} clients", number::count(clients)),
            None => "the runs have no step in common: each with its largest".to_owned(),
        },
    );
    let title = broadcast::TITLE.to_owned();
    let units = "share of the clients joined, over seconds since the message was due (median)";
    Ok(Figure { title, subtitle: subtitle(runs), legend: Vec::new(), units, notes, canvas })
}
