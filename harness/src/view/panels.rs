//! The panels of the live view. Pure.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

use super::draw::Theme;
use super::machine::{Core, Usage};
use super::state::View;
use super::words::{bytes, fitting, printable, short, span};
use crate::text::count;

/// A panel with its title on the line above; gives what is inside. Of the parts of the title, those that fit are shown.
fn panel<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &'static str,
    parts: impl IntoIterator<Item = Vec<Span<'a>>>,
    theme: Theme,
) -> Rect {
    let mut title = Line::from(vec![Span::styled("─ ", theme.dim()), Span::styled(name, theme.bold())]);
    for part in parts {
        let width: usize = part.iter().map(Span::width).sum();
        if title.width() + 2 + width < usize::from(area.width) {
            title.push_span("  ");
            title.spans.extend(part);
        }
    }
    title.push_span(" ");
    let plain = Style::new().remove_modifier(Modifier::DIM);
    let block = Block::new().borders(Borders::TOP).border_style(theme.dim()).title_style(plain).title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

/// Clients attempted and joined over time.
pub(super) fn users(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let (joined_style, attempted_style) = (theme.fg(Color::Green), theme.fg(Color::Yellow));
    let part = |name: &str, n: u64, style| vec![Span::styled(format!("⣀⠤⠒ {name} {}", short(n)), style)];
    let parts = [
        part("joined", view.now.joined, joined_style),
        part("attempted", view.now.attempted, attempted_style),
        vec![Span::raw("over seconds")],
    ];
    let inside = panel(frame, area, "users", parts, theme);
    if inside.height < 3 || inside.width < 16 {
        return;
    }
    let points = |of: fn(&(f64, u64, u64)) -> u64| -> Vec<(f64, f64)> {
        view.series.iter().map(|p| (p.0, of(p) as f64)).collect()
    };
    let (attempted, joined) = (points(|p| p.1), points(|p| p.2));
    let top = view.series.iter().map(|p| p.1.max(p.2)).max().unwrap_or(0).max(view.now.target).max(1);
    let end = view.series.last().map_or(0.0, |p| p.0).max(10.0);
    let few = inside.height < 5 || top < 2;
    let y_labels = if few { vec![0, top] } else { vec![0, top / 2, top] };
    let x_labels: Vec<String> = [0.0, end / 2.0, end].iter().map(|s| format!("{s:.0}")).collect();
    let line = |points, style| {
        Dataset::default().data(points).marker(Marker::Braille).graph_type(GraphType::Line).style(style)
    };
    // The joined are drawn last: where the lines run together, it is theirs that is seen. The attempted are never below.
    let chart = Chart::new(vec![line(&attempted, attempted_style), line(&joined, joined_style)])
        .x_axis(Axis::default().bounds([0.0, end]).labels(x_labels).style(theme.dim()))
        .y_axis(Axis::default().bounds([0.0, top as f64]).labels(y_labels.into_iter().map(short)).style(theme.dim()))
        .legend_position(None);
    frame.render_widget(chart, inside);
}

/// Cores, memory, processes, bytes per client.
pub(super) fn machine(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let machine = &view.machine;
    let load = machine.load_1m.map(|load| vec![Span::raw(format!("load {load:.2}"))]);
    // Of a fleet, the server's host is shown.
    let of_fleet = (machine.others > 0)
        .then(|| vec![Span::raw(format!("{} (1 of {})", printable(&machine.host), machine.others + 1))]);
    let parts = of_fleet.into_iter().chain(load).chain([legend(theme)]);
    let inside = panel(frame, area, "machine", parts, theme);
    let rows = core_rows(&machine.cores, inside.width, inside.height.saturating_sub(8).max(1), theme);
    // Groups stand apart where there is room.
    let gap = u16::from(rows.len() + 8 + 2 <= usize::from(inside.height));
    let [cores, memory, _, processes, _, each] = Layout::vertical([
        Constraint::Length(rows.len() as u16),
        Constraint::Length(2),
        Constraint::Length(gap),
        Constraint::Length(3),
        Constraint::Length(gap),
        Constraint::Length(3),
    ])
    .areas(inside);
    frame.render_widget(Paragraph::new(rows), cores);
    frame.render_widget(Paragraph::new(memory_rows(view, memory.width, theme)), memory);
    let rows: Vec<Line<'_>> = [("server", machine.server), ("agents", machine.agents), ("harness", machine.harness)]
        .into_iter()
        .filter_map(|(name, usage)| Some(process(name, usage?)))
        .collect();
    frame.render_widget(Paragraph::new(rows), processes);
    frame.render_widget(Paragraph::new(per_client(view, theme)), each);
}

fn legend(theme: Theme) -> Vec<Span<'static>> {
    vec![
        Span::styled("|", theme.fg(Color::Green)),
        Span::raw("user "),
        Span::styled("|", theme.fg(Color::Red)),
        Span::raw("kernel"),
    ]
}

/// All cores together, memory, server and agents: three lines.
pub(super) fn machine_in_short(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let machine = &view.machine;
    let n = machine.cores.len().max(1) as f64;
    let mean = |of: fn(&Core) -> f64| machine.cores.iter().map(of).sum::<f64>() / n;
    let all = Core { user: mean(|c| c.user), kernel: mean(|c| c.kernel), steal: mean(|c| c.steal) };
    let width = usize::from(area.width);
    let mut rows = vec![core("CPU", &all, width, theme)];
    rows.extend(memory_rows(view, area.width, theme).into_iter().take(1));
    let mut text = String::new();
    for (name, usage) in [("server", machine.server), ("agents", machine.agents)] {
        if let Some(usage) = usage {
            let _ = write!(text, " {name} {} {}", share(usage), bytes(usage.rss_bytes));
        }
    }
    rows.push(Line::from(text));
    frame.render_widget(Paragraph::new(rows), area);
}

/// A bar each as long as there is room, in as many columns as it takes; else one character each.
fn core_rows<'a>(cores: &[Core], width: u16, most: u16, theme: Theme) -> Vec<Line<'a>> {
    /// Least width of a bar with its number.
    const BAR: usize = 14;
    let (width, most) = (usize::from(width), usize::from(most));
    let columns = cores.len().div_ceil(most).max(1);
    let each = width / columns;
    if each < BAR {
        return columns_of_blocks(cores, width, most, theme);
    }
    let rows = cores.len().div_ceil(columns);
    let row = |r: usize| {
        let of_row = (0..columns).filter_map(|c| cores.get(c * rows + r).map(|core| (c * rows + r, core)));
        Line::from(of_row.flat_map(|(i, c)| core(&format!("{i:>3}"), c, each, theme).spans).collect::<Vec<_>>())
    };
    (0..rows).map(row).collect()
}

/// Hundreds of cores: a block each, as high as the core is busy.
fn columns_of_blocks<'a>(cores: &[Core], width: usize, most: usize, theme: Theme) -> Vec<Line<'a>> {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |c: &Core| {
        let busy = (c.user + c.kernel + c.steal).clamp(0.0, 1.0);
        let color = if c.kernel > c.user { Color::Red } else { Color::Green };
        Span::styled(BLOCKS[(busy * 8.0).round() as usize].to_string(), theme.fg(color))
    };
    cores.chunks(width.max(1)).take(most).map(|row| Line::from(row.iter().map(block).collect::<Vec<_>>())).collect()
}

/// ` 0[||||||     78.2%]`, as htop draws it.
fn core<'a>(name: &str, core: &Core, width: usize, theme: Theme) -> Line<'a> {
    let busy = (core.user + core.kernel + core.steal).clamp(0.0, 1.0);
    let parts = [(core.user, Color::Green), (core.kernel, Color::Red), (core.steal, Color::Cyan)];
    bar(name, &parts, &format!("{:.1}%", busy * 100.0), width, theme)
}

fn bar<'a>(name: &str, parts: &[(f64, Color)], label: &str, width: usize, theme: Theme) -> Line<'a> {
    let inside = width.saturating_sub(name.len() + 2);
    let room = inside.saturating_sub(label.len());
    let mut spans = vec![Span::styled(name.to_owned(), theme.bold()), Span::raw("[")];
    let (mut sum, mut drawn) = (0.0, 0);
    for &(share, color) in parts {
        sum += if share.is_finite() { share.max(0.0) } else { 0.0 };
        // Of the whole width, so that the label hides the end of a full bar and does not shift the scale.
        let until = ((sum * inside as f64).round() as usize).min(room);
        spans.push(Span::styled("|".repeat(until.saturating_sub(drawn)), theme.fg(color)));
        drawn = until.max(drawn);
    }
    spans.push(Span::raw(" ".repeat(room.saturating_sub(drawn))));
    spans.push(Span::styled(label.to_owned(), theme.dim()));
    spans.push(Span::raw("]"));
    Line::from(spans)
}

fn memory_rows<'a>(view: &View, width: u16, theme: Theme) -> Vec<Line<'a>> {
    let row = |name: &str, of: Option<(u64, u64)>, color: Color| {
        let (used, total) = of.unwrap_or_default();
        let share = if total > 0 { used as f64 / total as f64 } else { 0.0 };
        let label = format!("{}/{}", bytes(used), bytes(total));
        bar(name, &[(share, color)], &label, usize::from(width), theme)
    };
    vec![row("Mem", view.machine.memory, Color::Green), row("Swp", view.machine.swap, Color::Red)]
}

fn share(usage: Usage) -> String {
    usage.cores.map_or_else(|| "–".into(), |cores| format!("{:.0}%", cores * 100.0))
}

fn process<'a>(name: &str, usage: Usage) -> Line<'a> {
    let name = if usage.processes > 1 { format!("{name} ×{}", usage.processes) } else { name.to_owned() };
    Line::from(format!("{name:<10}{:>5} CPU {:>6} RSS", share(usage), bytes(usage.rss_bytes)))
}

fn per_client<'a>(view: &View, theme: Theme) -> Vec<Line<'a>> {
    let each = &view.machine.per_client;
    let of = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {} B", group(v)));
    let user: Vec<String> = [of("server", each.server), of("agents", each.agents)].into_iter().flatten().collect();
    let mut rows = Vec::new();
    rows.extend((!user.is_empty()).then(|| Line::from(user.join(", "))));
    rows.extend(of("kernel", each.kernel).map(|kernel| Line::from(format!("{kernel}, both ends"))));
    if !rows.is_empty() {
        rows.insert(0, Line::styled("per client, over the start", theme.dim()));
    }
    rows
}

fn group(value: f64) -> String {
    let sign = if value < -0.5 { "−" } else { "" };
    format!("{sign}{}", count(value.abs().round() as u64))
}

/// The last broadcasts, latest first.
pub(super) fn broadcasts(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let (complete, of) = view.now.broadcasts;
    let progress =
        (of > 0).then(|| vec![Span::raw(format!("{} of {} complete", count(complete.into()), count(of.into())))]);
    let inside = panel(frame, area, "broadcasts", progress, theme);
    let mut rows = Vec::new();
    if !view.broadcasts.is_empty() {
        let names = format!("{:>5}  {:>9}  {:>7}  {:>8}  {:>8}", "#", "reached", "missing", "p99", "to last");
        rows.push(Line::styled(names, theme.dim()));
    }
    for b in view.broadcasts.iter().rev().take(usize::from(inside.height).saturating_sub(rows.len())) {
        let missing = b.expected.saturating_sub(b.received);
        let time = |ns: Option<u64>| ns.map_or_else(|| "–".into(), span);
        rows.push(Line::from(vec![
            Span::raw(format!("{:>5}  {:>9}  ", u64::from(b.sequence) + 1, fitting(b.received, 9))),
            Span::styled(format!("{:>7}", short(missing)), if missing > 0 { theme.bad() } else { Style::new() }),
            Span::raw(format!("  {:>8}  {:>8}", time(b.p99_ns), time(b.last_ns))),
        ]));
    }
    frame.render_widget(Paragraph::new(rows), inside);
}

/// Errors by kind, largest first.
pub(super) fn errors(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let inside = panel(frame, area, "errors", None, theme);
    if view.errors.is_empty() {
        frame.render_widget(Line::styled("none", theme.dim()), inside);
        return;
    }
    let room = usize::from(inside.height);
    let mut rows: Vec<Line<'_>> =
        view.errors.iter().map(|(side, e)| error(side, &e.kind, e.code, e.count, theme)).collect();
    if rows.len() > room {
        rows.truncate(room.saturating_sub(1));
        let left = view.errors.len() - rows.len();
        rows.push(Line::styled(format!("and {left} more kinds"), theme.dim()));
    }
    frame.render_widget(Paragraph::new(rows), inside);
}

fn error<'a>(side: &str, kind: &str, code: i64, n: u64, theme: Theme) -> Line<'a> {
    let code = if code == 0 { String::new() } else { format!(" ({code})") };
    Line::from(vec![
        Span::styled(format!("{:>6} ", short(n)), theme.bad()),
        Span::raw(format!("{}{code}", printable(kind))),
        Span::styled(format!(" {side}"), theme.dim()),
    ])
}

/// Errors in one line.
pub(super) fn error_line<'a>(view: &View, theme: Theme) -> Line<'a> {
    let Some((side, e)) = view.errors.first() else { return Line::default() };
    let mut line = error(side, &e.kind, e.code, e.count, theme);
    if view.errors.len() > 1 {
        line.push_span(format!(", {} more", view.errors.len() - 1));
    }
    line
}

/// The end of the log.
pub(super) fn log(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let inside = panel(frame, area, "log", None, theme);
    let first = view.log.len().saturating_sub(usize::from(inside.height));
    let rows: Vec<Line<'_>> = view
        .log
        .iter()
        .skip(first)
        .map(|line| {
            let text = cut(printable(&line.text), usize::from(inside.width));
            if line.of_child { Line::styled(text, theme.dim()) } else { Line::from(text) }
        })
        .collect();
    frame.render_widget(Paragraph::new(rows), inside);
}

/// A text that says when its end is missing.
fn cut(text: String, cells: usize) -> String {
    if text.chars().count() <= cells {
        return text;
    }
    text.chars().take(cells.saturating_sub(1)).chain(['…']).collect()
}
