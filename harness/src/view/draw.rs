//! From what is to be shown to the cells of a terminal, of whatever size. Pure.
//!
//! Three layouts: all panels; one column where there is little room; bare lines where there is hardly any.

use c2m_schema::rows::Phase;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::panels;
use super::state::View;
use super::words::{clock, fitting, short, span};
use crate::run::wishes::may_end;
use crate::text::count;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether colours are used; bold and reverse are in any case.
    pub color: bool,
}

impl Theme {
    /// Text in a colour of the terminal's own.
    pub fn fg(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// Text of second rank.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Text of first rank.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is wrong.
    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// Least size of all panels.
const ALL: (u16, u16) = (72, 20);
/// Least size of one column.
const COLUMN: (u16, u16) = (30, 9);

/// Draws the view as of `now_s`.
pub fn draw(frame: &mut Frame<'_>, view: &View, now_s: f64, theme: Theme) {
    let area = frame.area();
    let room = |least: (u16, u16)| area.width >= least.0 && area.height >= least.1;
    if room(ALL) {
        all(frame, area, view, now_s, theme);
    } else if room(COLUMN) {
        column(frame, area, view, now_s, theme);
    } else {
        lines(frame, area, view, now_s, theme);
    }
}

fn all(frame: &mut Frame<'_>, area: Rect, view: &View, now_s: f64, theme: Theme) {
    // What grows with the screen is the chart; the log has a sixth, the broadcasts a fifth.
    let (log, middle) = ((area.height / 6).clamp(4, 10), (area.height / 5).clamp(5, 12));
    let [title, phases, main, middle, log, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(middle),
        Constraint::Length(log),
        Constraint::Length(1),
    ])
    .areas(area);
    both(frame, title, heading(view, theme), joined(view, usize::from(title.width / 2), theme));
    both(frame, phases, strip(view, now_s, theme), pace(view));
    let machine = (area.width / 5 * 2).clamp(32, 64);
    let [chart, _, machine] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(machine)]).areas(main);
    panels::users(frame, chart, view, theme);
    panels::machine(frame, machine, view, theme);
    let [broadcasts, _, errors] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(machine.width)])
            .areas(middle);
    panels::broadcasts(frame, broadcasts, view, theme);
    panels::errors(frame, errors, view, theme);
    panels::log(frame, log, view, theme);
    frame.render_widget(keys(view, theme), help);
}

fn column(frame: &mut Frame<'_>, area: Rect, view: &View, now_s: f64, theme: Theme) {
    let [title, numbers, chart, machine, last, errors, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(u16::from(!view.errors.is_empty())),
        Constraint::Length(1),
    ])
    .areas(area);
    let point = || super::words::printable(view.now.title.split(',').next().unwrap_or_default());
    let beside = if view.now.phase == Phase::Ramp { pace(view) } else { Line::from(point() + " ") };
    both(frame, title, phase(view, now_s, theme), beside);
    frame.render_widget(joined(view, usize::from(numbers.width), theme), numbers);
    panels::users(frame, chart, view, theme);
    panels::machine_in_short(frame, machine, view, theme);
    frame.render_widget(last_broadcast(view, usize::from(last.width), theme), last);
    frame.render_widget(panels::error_line(view, theme), errors);
    frame.render_widget(keys(view, theme), help);
}

/// What matters most, a line each, as far as there is room.
fn lines(frame: &mut Frame<'_>, area: Rect, view: &View, now_s: f64, theme: Theme) {
    let server = view.machine.server.map_or_else(
        || Line::from(" server"),
        |s| {
            let cpu = s.cores.map_or(String::new(), |cores| format!(" {:.0}%", cores * 100.0));
            Line::from(format!(" server {}{cpu}", super::words::bytes(s.rss_bytes)))
        },
    );
    let first = vec![phase(view, now_s, theme), joined(view, usize::from(area.width), theme)];
    let rest = [server, last_broadcast(view, usize::from(area.width), theme)];
    let room = usize::from(area.height);
    let mut lines = first;
    lines.extend(rest.into_iter().take(room.saturating_sub(3)));
    lines.push(keys(view, theme));
    lines.truncate(room);
    for (row, line) in area.rows().zip(lines) {
        frame.render_widget(line, row);
    }
}

/// Two lines in one row: the left has precedence.
fn both(frame: &mut Frame<'_>, row: Rect, left: Line<'_>, right: Line<'_>) {
    let (taken, wanted) = (left.width(), right.width());
    frame.render_widget(left, row);
    if taken + 1 + wanted <= usize::from(row.width) {
        let wanted = wanted as u16;
        let at = Rect { x: row.x + row.width - wanted, width: wanted, ..row };
        frame.render_widget(right, at);
    }
}

fn heading<'a>(view: &View, theme: Theme) -> Line<'a> {
    let name = super::words::printable(&view.experiment);
    let title = super::words::printable(&view.now.title);
    Line::from(vec![Span::styled(format!(" {name}"), theme.bold()), Span::raw(format!("  {title}"))])
}

fn joined<'a>(view: &View, cells: usize, theme: Theme) -> Line<'a> {
    let now = &view.now;
    let said = |joined: String, of: String| {
        let mut spans = vec![Span::styled(format!(" {joined}"), theme.bold()), Span::raw(of)];
        if now.lost > 0 {
            spans.push(Span::styled(format!(", {} lost", short(now.lost)), theme.bad()));
        }
        if now.reconnecting > 0 {
            spans.push(Span::raw(format!(", {} on their way back", short(now.reconnecting))));
        }
        spans.push(Span::raw(" "));
        Line::from(spans)
    };
    let (joined, target) = (short(now.joined), short(now.target));
    let in_words = [
        said(count(now.joined), format!(" of {} joined", count(now.target))),
        said(joined.clone(), format!(" of {target} joined")),
        said(joined.clone(), format!("/{target} joined")),
    ];
    let fits = in_words.into_iter().find(|line| line.width() <= cells + 1);
    fits.unwrap_or_else(|| {
        let mut line = said(joined.clone(), format!("/{target}"));
        // Every cell counts.
        line.spans[0].content = joined.into();
        line
    })
}

/// Rate and time to go, while clients arrive.
fn pace<'a>(view: &View) -> Line<'a> {
    let now = &view.now;
    if now.phase != Phase::Ramp || now.per_s < 1.0 {
        return Line::default();
    }
    let left = now.target.saturating_sub(now.joined.saturating_add(now.lost)) as f64 / now.per_s;
    Line::from(format!("{}/s, {} to go ", fitting(now.per_s as u64, 9), clock(left)))
}

fn phase<'a>(view: &View, now_s: f64, theme: Theme) -> Line<'a> {
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let name = Span::styled(format!(" {} ", view.now.phase.name()), theme.fg(Color::Cyan).patch(reversed));
    Line::from(vec![name, Span::raw(format!(" {} ", time_in_phase(view, now_s)))])
}

fn time_in_phase(view: &View, now_s: f64) -> String {
    let passed = clock(now_s - view.phase_began_s);
    match view.now.phase_length_s {
        Some(length) if length >= 1.0 => format!("{passed} of {}", clock(length)),
        _ => passed,
    }
}

/// The phases in order, and how long it has been in the present one.
fn strip<'a>(view: &View, now_s: f64, theme: Theme) -> Line<'a> {
    let mut spans = Vec::new();
    if view.now.phase == Phase::Floor {
        return Line::from(vec![
            Span::raw(" "),
            Span::styled(
                " bare sockets, to hold the run against ",
                theme.fg(Color::Cyan).add_modifier(Modifier::REVERSED),
            ),
            Span::raw(format!(" {} ", time_in_phase(view, now_s))),
        ]);
    }
    for phase in [Phase::Start, Phase::Ramp, Phase::Settle, Phase::Measure, Phase::Hold, Phase::Drain] {
        if phase == view.now.phase {
            let style = theme.fg(Color::Cyan).add_modifier(Modifier::REVERSED | Modifier::BOLD);
            spans.push(Span::styled(format!(" {} ", phase.name()), style));
            spans.push(Span::styled(format!(" {} ", time_in_phase(view, now_s)), theme.bold()));
        } else {
            spans.push(Span::styled(format!(" {} ", phase.name()), theme.dim()));
        }
    }
    spans.insert(0, Span::raw(" "));
    Line::from(spans)
}

fn last_broadcast<'a>(view: &View, cells: usize, theme: Theme) -> Line<'a> {
    let (complete, of) = view.now.broadcasts;
    if of == 0 {
        return Line::styled(" no broadcast yet", theme.dim());
    }
    let last = view.broadcasts.back();
    let missing = last.map_or(0, |b| b.expected.saturating_sub(b.received));
    let missing = || (missing > 0).then(|| Span::styled(format!(", {} missing", short(missing)), theme.bad()));
    let time = |name: &str, ns: Option<u64>| ns.map(|ns| Span::raw(format!(", {name}{}", span(ns))));
    let line = |name: &str, rest: [Option<Span<'a>>; 3]| {
        let mut line = Line::from(format!(" {name}{complete}/{of}"));
        rest.into_iter().flatten().for_each(|span| line.push_span(span));
        line
    };
    let (p99, all) = (|| last.and_then(|b| time("p99 ", b.p99_ns)), || last.and_then(|b| time("last ", b.last_ns)));
    let in_words = [
        line("broadcast ", [missing(), p99(), all()]),
        line("to all ", [missing(), p99(), all()]),
        line("to all ", [missing(), all(), None]),
        line("to all ", [missing(), None, None]),
    ];
    let fits = in_words.into_iter().find(|line| line.width() <= cells);
    fits.unwrap_or_else(|| line("", [missing(), None, None]))
}

/// The keys, or the answer to the last one.
fn keys<'a>(view: &View, theme: Theme) -> Line<'a> {
    let key = |name: &'a str| Span::styled(format!(" {name} "), Style::new().add_modifier(Modifier::REVERSED));
    if view.replayed {
        let spans = vec![key("q"), Span::raw(" close  "), Span::styled("a run of the past, shown again", theme.dim())];
        return Line::from(spans);
    }
    if view.stopping {
        return Line::from(vec![Span::styled(" ending in order ", theme.bold()), key("Ctrl-C"), Span::raw(" at once")]);
    }
    let mut spans = vec![key("q"), Span::raw(" stop in order  ")];
    if may_end(view.now.phase) {
        spans.extend([key("n"), Span::raw(format!(" end {}  ", view.now.phase.name()))]);
    }
    spans.push(Span::styled(view.answer.clone(), theme.bold()));
    Line::from(spans)
}
