//! Chart 2, the htop panel: cores, memory, swap, tasks, load and uptime as htop sets them, with the subscribers counter
//! beside it, at the peak and during a broadcast.

use c2m_schema::rows::CoreRow;
use c2m_schema::table;

use super::moments::{self, Core, Moment, Moments};
use crate::draw::canvas::{Anchor, Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{SMALL_SIZE, fit};
use crate::rundir::{HostSample, RunDir};

/// Title.
pub(super) const TITLE: &str = "The machine at work";

const UNITS: &str = "cores in per cent of the time since the reading before; memory in megabytes (1 MB = 1,000,000 B)";

const USER: Color = palette::GREEN;
const KERNEL: Color = palette::VERMILION;
const INTERRUPT: Color = palette::PURPLE;
const STOLEN: Color = palette::FAINT;

/// Size of the panel's text.
const SIZE: f64 = 22.0;
/// Rows of cores lower than this have bars and no text.
const ROW_WITH_TEXT: f64 = 16.0;
/// Height of all cores together.
const CORES_HEIGHT: f64 = 160.0;

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let samples = run.samples()?;
    let hosts = run.hosts()?;
    let mut notes = Vec::new();
    // Memory and load are worth showing without the cores, and the peak without the ledger.
    let cores = table::read::<CoreRow>(&run.path).unwrap_or_else(|e| {
        notes.push(Blank::from(e).reason().to_owned());
        Vec::new()
    });
    let broadcasts = run.broadcasts().unwrap_or_else(|e| {
        notes.push(Blank::from(e).reason().to_owned());
        Vec::new()
    });
    let Some(Moments { peak, broadcast, server_counted }) = moments::moments(run, &hosts, &cores, &broadcasts, samples)
    else {
        return Err(Blank::Empty("samples.csv has no reading of the host".to_owned()));
    };
    notes.push(format!("subscribers as the {} them", if server_counted { "server counts" } else { "agents count" }));
    let mut canvas = Canvas::default();
    let middle = f64::midpoint(BODY.x0, BODY.x1);
    let card = |x0, x1| Rect { x0, y0: BODY.y0, x1, y1: BODY.y1 };
    let (left, right) = (card(BODY.x0 + 12.0, middle - 10.0), card(middle + 10.0, BODY.x1 - 12.0));
    panel(&mut canvas, left, "At the peak", &peak);
    match &broadcast {
        Ok(moment) => panel(&mut canvas, right, "During a broadcast", moment),
        Err(reason) => absent(&mut canvas, right, "During a broadcast", reason),
    }
    let legend = vec![("user", USER), ("kernel", KERNEL), ("interrupts", INTERRUPT), ("stolen", STOLEN)];
    let subtitle = subtitle(&peak, broadcast.as_ref().ok());
    Ok(Figure { title: TITLE.to_owned(), subtitle, legend, units: UNITS, notes, canvas })
}

fn subtitle(peak: &Moment, broadcast: Option<&Moment>) -> String {
    let busy = |moment: &Moment| {
        let cores = moment.cores.len();
        let busy: f64 = moment.cores.iter().map(Core::busy).sum();
        (cores > 0).then(|| format!("{} of {cores} cores busy", number::significant(busy)))
    };
    let subscribers = peak.subscribers.last().map(|n| format!("{} subscribers", number::count(*n)));
    let at_rest = busy(peak).map(|b| format!("at rest {b}"));
    let sending = broadcast.and_then(busy).map(|b| format!("during a broadcast {b}"));
    [subscribers, at_rest, sending].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn heading(canvas: &mut Canvas, card: Rect, title: &str, what: &str) {
    canvas.rect(card, palette::CARD, 1.0);
    let (x, y) = (card.x0 + 20.0, card.y0);
    canvas.text(title, (x, y + 26.0), Type::new(25.0, palette::INK).bold());
    let style = Type::new(SMALL_SIZE, palette::MUTED);
    canvas.text(fit(what, style, card.width() - 40.0), (x, y + 55.0), style);
}

fn absent(canvas: &mut Canvas, card: Rect, title: &str, reason: &str) {
    heading(canvas, card, title, "");
    let middle = (f64::midpoint(card.x0, card.x1), f64::midpoint(card.y0, card.y1));
    canvas.text(reason, middle, Type::new(SIZE, palette::MUTED).anchor(Anchor::Middle));
}

fn panel(canvas: &mut Canvas, card: Rect, title: &str, moment: &Moment) {
    heading(canvas, card, title, &moment.what);
    let (x0, x1, y) = (card.x0 + 20.0, card.x1 - 20.0, card.y0);
    counter(canvas, (x0, y + 86.0), &moment.subscribers);
    cores(canvas, Rect { x0, y0: y + 204.0, x1, y1: y + 204.0 + CORES_HEIGHT }, &moment.cores);
    let nothing = HostSample::default();
    let host = moment.host.as_ref().unwrap_or(&nothing);
    memory(canvas, (x0, x1, y + 390.0), "Mem", host.memory_used_bytes, host.memory_total_bytes);
    memory(canvas, (x0, x1, y + 419.0), "Swp", host.swap_used_bytes, host.swap_total_bytes);
    let count = |n: Option<u64>| n.map_or_else(|| "—".to_owned(), number::count);
    let load = |n: Option<f64>| n.filter(|n| n.is_finite()).map_or_else(|| "—".to_owned(), |n| format!("{n:.2}"));
    let tasks = [
        (count(host.tasks), palette::INK),
        (", ".to_owned(), palette::BLUE),
        (count(host.threads), palette::INK),
        (" thr; ".to_owned(), palette::BLUE),
        (count(host.tasks_running), palette::GREEN),
        (" running".to_owned(), palette::BLUE),
    ];
    line(canvas, (x0, y + 450.0), "Tasks: ", &tasks);
    let loads = [
        (load(host.load_1m) + " ", palette::INK),
        (load(host.load_5m) + " ", palette::MUTED),
        (load(host.load_15m), palette::MUTED),
    ];
    line(canvas, (x0, y + 477.0), "Load average: ", &loads);
    line(canvas, (x0, y + 504.0), "Uptime: ", &[(uptime(host.uptime_s), palette::INK)]);
}

/// The numbers before in small, the last in large, as they came up a terminal in 2015.
fn counter(canvas: &mut Canvas, (x, y): (f64, f64), readings: &[u64]) {
    let Some((last, before)) = readings.split_last() else {
        return canvas.text("subscribers not counted", (x, y + 40.0), Type::new(SIZE, palette::MUTED));
    };
    let large = Type::new(40.0, palette::INK).bold();
    let text = number::count(*last);
    let width = large.width(&text);
    for (place, reading) in before.iter().rev().enumerate() {
        let at = (x + width, y + 48.0 - 24.0 * place as f64);
        canvas.text(number::count(*reading), at, Type::new(SMALL_SIZE, palette::MUTED).anchor(Anchor::End));
    }
    canvas.text(text, (x, y + 83.0), large);
    let style = Type::new(26.0, palette::text(palette::VERMILION)).bold();
    canvas.text("subscribers", (x + width + 18.0, y + 86.0), style);
}

/// Columns and rows for `count` cores in `height`: as few columns as keep the rows high enough to be read, else to be
/// seen.
fn grid(count: usize, height: f64) -> (usize, usize) {
    let rows_for = |columns: usize| count.div_ceil(columns).max(1);
    let fits = |columns: usize, row: f64| rows_for(columns) as f64 * row <= height;
    let columns = [1, 2, 4].into_iter().find(|c| fits(*c, 28.0)).or([4].into_iter().find(|c| fits(*c, ROW_WITH_TEXT)));
    let columns = columns.unwrap_or_else(|| (8..=count.max(8)).find(|c| fits(*c, 5.0)).unwrap_or(count.max(1)));
    (columns, rows_for(columns))
}

/// A bar for each core, its number before and its share within, as far as there is room.
fn cores(canvas: &mut Canvas, area: Rect, cores: &[Core]) {
    if cores.is_empty() {
        let style = Type::new(SIZE, palette::MUTED);
        return canvas.text("cores.csv has no two readings here", (area.x0, area.y0 + 20.0), style);
    }
    let (columns, rows) = grid(cores.len(), area.height());
    let (width, height) = (area.width() / columns as f64, (area.height() / rows as f64).min(48.0));
    let most = cores.iter().map(|c| c.number).max().unwrap_or(0).saturating_add(1).to_string();
    for (index, core) in cores.iter().enumerate() {
        let x0 = area.x0 + (index / rows) as f64 * width;
        let y = area.y0 + ((index % rows) as f64 + 0.5) * height;
        let parts = [(core.user, USER), (core.system, KERNEL), (core.interrupt, INTERRUPT), (core.steal, STOLEN)];
        let gap = if columns == 1 { 0.0 } else { (width * 0.08).min(14.0) };
        let room = Rect { x0, y0: y - height / 2.0, x1: x0 + width - gap, y1: y + height / 2.0 };
        canvas.spot((f64::midpoint(room.x0, room.x1), y), || {
            let [user, system, interrupt, steal] =
                [core.user, core.system, core.interrupt, core.steal].map(number::percent);
            let number = core.number.saturating_add(1);
            format!(
                "core {number}: {} busy\nuser {user}, kernel {system}\ninterrupts {interrupt}, stolen {steal}",
                number::percent(core.busy())
            )
        });
        if height < ROW_WITH_TEXT {
            solid(canvas, room, &parts);
            continue;
        }
        let size = (height * 0.85).min(30.0).min(if columns > 1 { SIZE } else { 30.0 });
        let style = Type::new(size, palette::text(palette::BLUE));
        // htop counts cores from 1.
        canvas.text(core.number.saturating_add(1).to_string(), (x0, y), style);
        let share = if columns <= 4 { format!("{:.1}%", core.busy() * 100.0) } else { String::new() };
        let room = Rect { x0: x0 + style.width(&most) + 8.0, ..room };
        bar(canvas, room, size, &parts, &share);
    }
}

/// A bar of plain areas, for rows too low for text.
fn solid(canvas: &mut Canvas, room: Rect, parts: &[(f64, Color)]) {
    let (y0, y1) = (room.y0 + room.height() * 0.1, room.y1 - room.height() * 0.1);
    canvas.rect(Rect { y0, y1, ..room }, palette::GRID, 1.0);
    let mut x = room.x0;
    for (share, color) in parts {
        let x1 = (x + share.clamp(0.0, 1.0) * room.width()).min(room.x1);
        if x1 - x > 0.05 {
            canvas.rect(Rect { x0: x, y0, x1, y1 }, *color, 1.0);
        }
        x = x1;
    }
}

/// `[||||    text]` over the width of `room`: strokes for each part's share, the text at the right end, over the strokes.
fn bar(canvas: &mut Canvas, room: Rect, size: f64, parts: &[(f64, Color)], text: &str) {
    let y = f64::midpoint(room.y0, room.y1);
    let bracket = Type::new(size, palette::INK).bold();
    canvas.text("[", (room.x0, y), bracket);
    canvas.text("]", (room.x1, y), bracket.anchor(Anchor::End));
    let edge = bracket.width("[") + 2.0;
    let (from, to) = (room.x0 + edge, room.x1 - edge);
    let stroke = Type::new(size, palette::INK).bold().width("|");
    let places = ((to - from) / stroke).floor().max(0.0);
    let (mut reached, mut drawn) = (0.0, 0.0);
    for (share, color) in parts {
        reached += share.clamp(0.0, 1.0);
        // Whatever is not nothing has a stroke, as in htop.
        let until = (reached.min(1.0) * places).round().max(if *share > 0.0 { drawn + 1.0 } else { drawn }).min(places);
        let count = (until - drawn).max(0.0) as usize;
        canvas.text("|".repeat(count), (from + drawn * stroke, y), Type::new(size, *color).bold());
        drawn += count as f64;
    }
    let style = Type::new(size, palette::INK);
    let back = Rect { x0: to - style.width(text) - 4.0, y0: y - size * 0.6, x1: to, y1: y + size * 0.6 };
    if !text.is_empty() && back.x0 > from {
        canvas.rect(back, palette::CARD, 1.0);
        canvas.text(text, (to - 1.0, y), style.anchor(Anchor::End));
    }
}

/// `Mem[|||  used/totalMB]`.
fn memory(canvas: &mut Canvas, (x0, x1, y): (f64, f64, f64), name: &str, used: Option<u64>, total: Option<u64>) {
    let style = Type::new(SIZE, palette::text(palette::BLUE));
    canvas.text(name, (x0, y), style);
    let room = Rect { x0: x0 + style.width("Mem") + 6.0, y0: y - SIZE / 2.0, x1, y1: y + SIZE / 2.0 };
    let (Some(used), Some(total)) = (used, total) else {
        return bar(canvas, room, SIZE, &[], "not measured");
    };
    canvas.spot((f64::midpoint(room.x0, room.x1), y), || {
        format!("{name}: {} of {} used", number::bytes(used as f64), number::bytes(total as f64))
    });
    let share = if total == 0 { 0.0 } else { used as f64 / total as f64 };
    let text = format!("{}/{}MB", used / 1_000_000, total / 1_000_000);
    bar(canvas, room, SIZE, &[(share, palette::GREEN)], &text);
}

/// A name and what follows it, part by part in its colour.
fn line(canvas: &mut Canvas, (x, y): (f64, f64), name: &str, parts: &[(String, Color)]) {
    let style = Type::new(SIZE, palette::text(palette::BLUE));
    canvas.text(name, (x, y), style);
    let mut x = x + style.width(name);
    for (text, color) in parts {
        let style = Type::new(SIZE, palette::text(*color));
        // Spaces at the begin of a text take no room in an SVG.
        let begin = x + style.width(text) - style.width(text.trim_start());
        canvas.text(text.trim_start(), (begin, y), style);
        x += style.width(text);
    }
}

/// `5 days, 11:17:13`, as htop has it.
fn uptime(seconds: Option<u64>) -> String {
    let Some(seconds) = seconds else { return "—".to_owned() };
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{} days, {clock}", number::count(days)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_as_in_htop() {
        assert_eq!(uptime(Some(5 * 86_400 + 11 * 3600 + 17 * 60 + 13)), "5 days, 11:17:13");
        assert_eq!(uptime(Some(395)), "00:06:35");
        assert_eq!(uptime(Some(86_400)), "1 day, 00:00:00");
        assert_eq!(uptime(None), "—");
    }

    #[test]
    fn any_number_of_cores_fits_its_area() {
        for count in [1, 2, 5, 10, 20, 40, 64, 128, 192, 1000, 4096] {
            let (columns, rows) = grid(count, CORES_HEIGHT);
            assert!(columns * rows >= count && rows as f64 * 5.0 <= CORES_HEIGHT, "{count}: {columns} × {rows}");
        }
        assert_eq!(grid(2, CORES_HEIGHT), (1, 2));
        assert_eq!(grid(40, CORES_HEIGHT), (4, 10));
    }
}
