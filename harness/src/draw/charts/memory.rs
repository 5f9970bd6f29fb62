//! Chart 3, memory against clients: server RSS, kernel and all-in, with published figures as reference points. Of a run of
//! several servers the RSS of each.

use super::series;
use crate::compare::within;
use crate::draw::canvas::{Anchor, Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::labels::{Placer, spread};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, Axis, LABEL_SIZE, Panel, SMALL_SIZE};
use crate::draw::published::{self, Published};
use crate::draw::scale::{Scale, range};
use crate::rundir::RunDir;
use c2m_schema::rows::PointRow;

/// Title.
pub(super) const TITLE: &str = "Memory against clients";

pub(super) const UNITS: &str = "decimal bytes (1 kB = 1,000 B)";

const PUBLISHED: Color = palette::FAINT;

/// A kind of memory: name, colour, bytes in total out of a row.
pub(super) type Kind = (&'static str, Color, fn(&PointRow) -> Option<f64>);

pub(super) const KINDS: [Kind; 3] = [
    ("all-in", palette::VERMILION, |p| Some(p.all_in_bytes_per_client? * held(p)?)),
    ("kernel", palette::GREEN, |p| Some(p.kernel_bytes_per_client? * held(p)?)),
    ("server RSS", palette::BLUE, |p| p.server_rss_bytes.map(|b| b as f64)),
];

/// Colours of servers, where there are several.
const SERVERS: [Color; 4] = [palette::BLUE, palette::VERMILION, palette::GREEN, palette::PURPLE];

/// One kind of memory over the points of the run.
pub(super) struct Line {
    pub(super) name: String,
    color: Color,
    /// Clients and bytes of every repetition.
    pub(super) dots: Vec<(f64, f64)>,
    /// The same, median over equal client counts, rising.
    pub(super) medians: Vec<(f64, f64)>,
    /// Values without a place on a logarithmic axis.
    unplaced: usize,
}

fn held(point: &PointRow) -> Option<f64> {
    point.live_at_end.or(point.joined).map(|n| n as f64)
}

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let lines = lines(run);
    let own = || lines.iter().flat_map(|l| l.dots.iter().copied());
    let Some((clients_min, clients_max)) = range(own().map(|d| d.0)) else {
        return Err(Blank::Empty("no point of points.csv has both clients and memory above zero".to_owned()));
    };
    let references: Vec<_> =
        published::all().iter().filter_map(|p| Some((p, (p.clients as f64, p.used_memory_bytes? as f64)))).collect();
    let (bytes_min, bytes_max) = range(own().map(|d| d.1)).unwrap_or((1.0, 1.0));
    let reach = |of: fn((f64, f64)) -> f64, most: f64| references.iter().map(|r| of(r.1)).fold(most, f64::max);
    let plot = Rect { x0: 128.0, y0: BODY.y0 + 40.0, x1: BODY.x1 - 36.0, y1: BODY.y1 - AXIS_ROOM };
    let panel = Panel::new(
        plot,
        Scale::log(clients_min * 0.8, reach(|r| r.0, clients_max) * 2.0),
        Scale::log(bytes_min * 0.8, reach(|r| r.1, bytes_max) * 1.5),
    );
    let mut canvas = Canvas::default();
    let x = Axis { title: "clients held", format: &number::short };
    panel.axes(&mut canvas, Some(&x), &Axis { title: "memory in use", format: &number::bytes });
    let mut placer = Placer::new(plot);
    let isos = iso_lines(&mut canvas, &panel);
    for line in &lines {
        draw_line(&mut canvas, &panel, &mut placer, line);
    }
    let at: Vec<Reference> = references
        .iter()
        .filter_map(|(p, (c, b))| {
            Some((panel.at(*c, *b)?, format!("{} {}: {}", p.system, p.year, number::bytes(b / c))))
        })
        .collect();
    for (reference, (clients, bytes)) in &references {
        let Some(at) = panel.at(*clients, *bytes) else { continue };
        canvas.spot(at, || {
            let [all, each] = [*bytes, bytes / clients].map(number::bytes);
            let clients = number::count(reference.clients);
            let Published { system, year, memory_kind, source, .. } = reference;
            format!(
                "{system} {year}, as published\n{all} ({memory_kind}), {each} per client\n{clients} clients\n{source}"
            )
        });
    }
    for ((x, y), _) in &at {
        placer.take(Rect { x0: x - 6.0, y0: y - 6.0, x1: x + 6.0, y1: y + 6.0 });
    }
    label_ends(&mut canvas, &panel, &mut placer, &lines);
    label_references(&mut canvas, &mut placer, &at);
    label_points(&mut canvas, &panel, &mut placer, &lines);
    label_iso_lines(&mut canvas, &mut placer, &isos);
    let legend = vec![("published by others", PUBLISHED)];
    let notes = notes(run, &lines);
    Ok(Figure { title: TITLE.to_owned(), subtitle: subtitle(&lines), legend, units: UNITS, notes, canvas })
}

fn lines(run: &RunDir) -> Vec<Line> {
    let servers = within::servers(run);
    if servers.is_empty() {
        return KINDS.iter().map(|kind| line(&run.points, kind)).collect();
    }
    let [.., (kind, _, bytes)] = KINDS;
    let of_server = |(server, color): (&String, &Color)| {
        let line = line(&within::rows_of(run, server), &(kind, *color, bytes));
        Line { name: format!("{server} {kind}"), ..line }
    };
    servers.iter().zip(SERVERS.iter().cycle()).map(of_server).collect()
}

/// The memory of one kind over `points`.
pub(super) fn line(points: &[PointRow], (name, color, bytes): &Kind) -> Line {
    let values: Vec<(f64, f64)> =
        points.iter().filter_map(|p| Some((held(p)?, bytes(p)?))).filter(|(_, b)| b.is_finite()).collect();
    let mut dots: Vec<_> = values.iter().copied().filter(|(c, b)| *c > 0.0 && *b > 0.0).collect();
    dots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let medians = dots
        .chunk_by(|a, b| b.0 - a.0 <= a.0 * 0.01)
        .filter_map(|same| {
            let middle = |of: fn(&(f64, f64)) -> f64| series::median(same.iter().map(of).collect());
            Some((middle(|d| d.0)?, middle(|d| d.1)?))
        })
        .collect();
    Line { name: (*name).to_owned(), color: *color, unplaced: values.len() - dots.len(), dots, medians }
}

/// Where every client costs the same: the ruler of the picture. Gives each line's name and ends.
fn iso_lines(canvas: &mut Canvas, panel: &Panel) -> Vec<(&'static str, [(f64, f64); 2])> {
    let (x, y) = (&panel.x, &panel.y);
    let mut drawn = Vec::new();
    for (each, text) in [(100.0, "100 B"), (1e3, "1 kB"), (1e4, "10 kB"), (1e5, "100 kB"), (1e6, "1 MB")] {
        let (from, to) = (x.min.max(y.min / each), x.max.min(y.max / each));
        if from < to {
            let ends = [from, to].map(|clients| (x.pixel(clients), y.pixel(clients * each)));
            canvas.path(ends.to_vec(), palette::mix(palette::GRID, palette::FAINT, 0.35), 1.0);
            drawn.push((text, ends));
        }
    }
    drawn
}

/// Names each ruler line on itself, where nothing else is.
fn label_iso_lines(canvas: &mut Canvas, placer: &mut Placer, lines: &[(&'static str, [(f64, f64); 2])]) {
    let style = Type::new(SMALL_SIZE, palette::FAINT).anchor(Anchor::Middle);
    for (text, [from, to]) in lines {
        let text = format!("{text} per client");
        let half = style.width(&text) / 2.0 + 4.0;
        let middle = |step: i32| {
            let share = 0.04 + 0.92 * f64::from(step) / 24.0;
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        };
        let room = |(x, y): (f64, f64)| Rect { x0: x - half, y0: y - 11.0, x1: x + half, y1: y + 11.0 };
        // From the right, where a ruler is read.
        if let Some(at) = (0..=24).rev().map(middle).find(|at| placer.is_free(&room(*at))) {
            canvas.halo(text, at, style);
            placer.take(room(at));
        }
    }
}

fn draw_line(canvas: &mut Canvas, panel: &Panel, placer: &mut Placer, line: &Line) {
    let pixels: Vec<_> = line.medians.iter().filter_map(|(c, b)| panel.at(*c, *b)).collect();
    for pair in pixels.windows(2) {
        // The line is taken in short pieces, since a box about the whole would keep labels from an empty corner.
        let pieces = 24;
        for piece in 0..=pieces {
            let share = f64::from(piece) / f64::from(pieces);
            let (x, y) = (pair[0].0 + (pair[1].0 - pair[0].0) * share, pair[0].1 + (pair[1].1 - pair[0].1) * share);
            placer.take(Rect { x0: x - 3.0, y0: y - 3.0, x1: x + 3.0, y1: y + 3.0 });
        }
    }
    canvas.path(pixels, line.color, 2.5);
    for (clients, bytes) in &line.dots {
        if let Some(at) = panel.at(*clients, *bytes) {
            canvas.dot(at, 5.0, line.color);
            canvas.spot(at, || {
                let [all, each] = [*bytes, bytes / clients].map(number::bytes);
                format!("{}: {all}\n{each} per client\n{} clients held", line.name, number::count(*clients as u64))
            });
            placer.take(Rect { x0: at.0 - 5.0, y0: at.1 - 5.0, x1: at.0 + 5.0, y1: at.1 + 5.0 });
        }
    }
}

/// Names each line beside its last point.
fn label_ends(canvas: &mut Canvas, panel: &Panel, placer: &mut Placer, lines: &[Line]) {
    let ends: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            let (clients, bytes) = line.medians.last()?;
            let text = format!("{}: {}", line.name, number::bytes(bytes / clients));
            Some((text, panel.at(*clients, *bytes)?, Type::new(LABEL_SIZE, palette::text(line.color)).bold()))
        })
        .collect();
    let wanted: Vec<f64> = ends.iter().map(|(_, at, _)| at.1).collect();
    let heights = spread(&wanted, LABEL_SIZE * 1.2, panel.plot.y0 + 10.0, panel.plot.y1 - 10.0);
    for ((text, at, style), y) in ends.into_iter().zip(heights) {
        let width = style.width(&text);
        let left = (at.0 + 14.0).min(panel.plot.x1 - width);
        let half = LABEL_SIZE * 0.6;
        placer.take(Rect { x0: left, y0: y - half, x1: left + width, y1: y + half });
        canvas.halo(text, (left, y), style);
    }
}

/// The bytes per client at the points before the last, where there is room.
fn label_points(canvas: &mut Canvas, panel: &Panel, placer: &mut Placer, lines: &[Line]) {
    // The kernel's share follows the sum too closely for numbers of its own.
    for line in lines.iter().filter(|l| l.name != "kernel") {
        let style = Type::new(SMALL_SIZE, palette::text(line.color));
        for (clients, bytes) in line.medians.iter().rev().skip(1) {
            let text = number::bytes(bytes / clients);
            let room =
                panel.at(*clients, *bytes).and_then(|at| placer.place(at, style.width(&text), SMALL_SIZE * 1.1, 12.0));
            if let Some(room) = room {
                canvas.halo(text, (room.x0, f64::midpoint(room.y0, room.y1)), style);
            }
        }
    }
}

fn diamond((x, y): (f64, f64)) -> Vec<(f64, f64)> {
    vec![(x, y - 7.0), (x + 7.0, y), (x, y + 7.0), (x - 7.0, y)]
}

fn subtitle(lines: &[Line]) -> String {
    let each = |line: &Line| {
        let (clients, bytes) = line.medians.last()?;
        Some(format!("{} {}", line.name, number::bytes(bytes / clients)))
    };
    let parts: Vec<_> = lines.iter().filter_map(each).collect();
    format!("Per client: {}", parts.join(", "))
}

/// A published figure: its place, and what its label says.
type Reference = ((f64, f64), String);

/// Draws the published figures and names them. They lie close together, so that which is named first decides how near the
/// others' names can be: of many orders the one is taken that leaves none out and keeps all near.
fn label_references(canvas: &mut Canvas, placer: &mut Placer, references: &[Reference]) {
    let style = Type::new(SMALL_SIZE, palette::MUTED);
    let tries = (0..ORDERS).map(|order| {
        let mut placer = placer.clone();
        let mut sorted: Vec<&Reference> = references.iter().collect();
        shuffle(&mut sorted, order);
        let rooms: Vec<Option<Rect>> =
            sorted.iter().map(|(at, text)| placer.place(*at, style.width(text), SMALL_SIZE * 1.1, 11.0)).collect();
        let far = |(at, room): (&&Reference, &Option<Rect>)| match room {
            // Beside its figure a name is clear; above and below it may be taken for another's.
            Some(room) => (f64::midpoint(room.y0, room.y1) - at.0.1).powi(2),
            None => 1e6,
        };
        let cost: f64 = sorted.iter().zip(&rooms).map(far).sum();
        (cost, sorted, rooms, placer)
    });
    let Some((_, sorted, rooms, placed)) = tries.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
    *placer = placed;
    for (((x, y), _), room) in sorted.iter().zip(&rooms) {
        let middle = room.map_or(*y, |room| f64::midpoint(room.y0, room.y1));
        if let Some(room) = room.filter(|_| (middle - y).abs() > 2.0) {
            canvas.line((*x, *y), (x.clamp(room.x0 + 8.0, room.x1 - 8.0), middle), PUBLISHED, 1.5);
        }
        canvas.fill(diamond((*x, *y)), PUBLISHED, 1.0);
    }
    for ((_, text), room) in sorted.into_iter().zip(rooms) {
        if let Some(room) = room {
            canvas.halo(text, (room.x0, f64::midpoint(room.y0, room.y1)), style);
        }
    }
}

/// How many orders are tried.
const ORDERS: u64 = 96;

/// One of the orders: the first as it is, the others mixed, the same each time.
fn shuffle<T>(items: &mut [T], order: u64) {
    let mut state = order;
    for end in (1..items.len()).rev().filter(|_| order > 0) {
        // Knuth's linear congruential generator; its upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, (state >> 33) as usize % (end + 1));
    }
}

/// What the memory of the published figures is.
fn published_kinds() -> String {
    let of = |p: &published::Published| {
        let kind = if p.memory_kind == "rss" { "RSS" } else { &p.memory_kind };
        (p.used_memory_bytes.is_some() && kind != "system").then(|| format!("of {} {kind}", p.system))
    };
    let other: Vec<String> = published::all().iter().filter_map(of).collect();
    format!("published: memory of the whole system, {}", other.join(", "))
}

fn notes(run: &RunDir, lines: &[Line]) -> Vec<String> {
    let unplaced = |l: &Line| {
        let values = if l.unplaced == 1 { "1 value" } else { &format!("{} values", l.unplaced) };
        format!("{}: {values} of zero or less left out of the logarithmic axis", l.name)
    };
    let mut notes: Vec<String> = lines.iter().filter(|l| l.unplaced > 0).map(unplaced).collect();
    let has_kernel = lines.iter().any(|l| l.name == KINDS[1].0);
    if has_kernel && run.record.as_ref().is_none_or(|r| r.isolation.mode == "netns") {
        notes.push("kernel and all-in hold both ends, server and clients".to_owned());
    }
    notes.push(published_kinds());
    notes
}
