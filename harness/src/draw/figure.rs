//! What every chart has in common: title, subtitle, legend, notes and the caption that says which machine and run it
//! is of; and the statement that there is nothing to draw.

use std::path::Path;

use c2m_schema::run::HostRecord;
use c2m_schema::table::ReadError;

use super::canvas::{Anchor, Canvas, HEIGHT, MARGIN, Rect, Type, WIDTH};
use super::number;
use super::palette::{self, Color};
use super::panel::{SMALL_SIZE, fit, wrap};
use crate::rundir::RunDir;

/// Where charts draw: below the title and above the caption.
pub const BODY: Rect = Rect { x0: 16.0, y0: 106.0, x1: WIDTH - 16.0, y1: HEIGHT - 16.0 - LINES as f64 * LINE };

/// Lines of text below a chart: units and notes, then the caption.
const LINES: usize = 3;
/// Height of such a line.
const LINE: f64 = SMALL_SIZE * 1.25;

/// A chart's content.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// What is shown, in a few words.
    pub title: String,
    /// One line: what the reader should see.
    pub subtitle: String,
    /// Names and colours of the lines.
    pub legend: Vec<(&'static str, Color)>,
    /// What is counted, and in which unit.
    pub units: &'static str,
    /// What else a reader should know: what was left out, and why.
    pub notes: Vec<String>,
    /// The body.
    pub canvas: Canvas,
}

/// Why a chart has no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blank {
    /// The run has nothing of the kind.
    Empty(String),
    /// A table can't be read.
    Unreadable(String),
}

impl Blank {
    /// The reason, for a person.
    pub fn reason(&self) -> &str {
        match self {
            Self::Empty(reason) | Self::Unreadable(reason) => reason,
        }
    }
}

impl From<ReadError> for Blank {
    fn from(error: ReadError) -> Self {
        Self::from(&error)
    }
}

impl From<&ReadError> for Blank {
    /// Names the file alone: a chart's bytes must not depend on where the run directory lies.
    fn from(error: &ReadError) -> Self {
        let file = |path: &Path| {
            path.file_name().map_or_else(|| "table".to_owned(), |name| name.to_string_lossy().into_owned())
        };
        Self::Unreadable(match error {
            ReadError::Io { path, source } => format!("{}: {source}", file(path)),
            ReadError::Malformed { path, line, column, message } => {
                let column = column.as_ref().map(|c| format!(", column {c}")).unwrap_or_default();
                format!("{}, line {line}{column}: {message}", file(path))
            }
            ReadError::Schema { path, found } => format!("{}: schema {found} can't be read by this build", file(path)),
        })
    }
}

/// Which machine and run a chart is of.
pub fn caption(run: &RunDir) -> String {
    let mut parts = Vec::new();
    let Some(record) = &run.record else {
        return format!("unknown machine (no run.json) · {}", run.experiment());
    };
    let host = &record.host;
    parts.push(machine(host));
    parts.push(format!("{} {}", host.os, host.kernel).trim().to_owned());
    parts.push(run.experiment().to_owned());
    parts.extend(record.label.clone());
    parts.push(day(&record.started_utc).to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// A machine in short: processor, cores, memory.
pub fn machine(host: &HostRecord) -> String {
    let cpu = if host.cpu_model.is_empty() { "unknown CPU" } else { &host.cpu_model };
    let memory = number::bytes(host.memory_limit_bytes as f64);
    format!("{cpu} · {} · {memory}", cores(host.cores_allowed, host.cores_host))
}

/// The cores a run could use, and those of the machine where they are more.
pub fn cores(allowed: u32, host: u32) -> String {
    let word = if allowed.max(host) == 1 { "core" } else { "cores" };
    if allowed == host || allowed == 0 { format!("{host} {word}") } else { format!("{allowed} of {host} {word}") }
}

pub(super) fn day(rfc3339: &str) -> &str {
    rfc3339.split('T').next().unwrap_or(rfc3339)
}

/// The whole chart: frame, body, caption.
pub fn compose(figure: &Figure, caption: &str) -> Canvas {
    let mut canvas = Canvas::default();
    canvas.rect(Rect { x0: 0.0, y0: 0.0, x1: WIDTH, y1: HEIGHT }, palette::PAPER, 1.0);
    let mut right = WIDTH - MARGIN;
    let style = Type::new(22.0, palette::INK).bold();
    for (name, color) in figure.legend.iter().rev() {
        canvas.text(*name, (right, 38.0), Type { color: palette::text(*color), ..style }.anchor(Anchor::End));
        right -= style.width(name);
        canvas.rect(Rect { x0: right - 38.0, y0: 34.0, x1: right - 9.0, y1: 42.0 }, *color, 1.0);
        right -= 62.0;
    }
    let title = Type::new(36.0, palette::INK).bold();
    canvas.text(fit(&figure.title, title, right - MARGIN), (MARGIN, 36.0), title);
    let subtitle = Type::new(24.0, palette::MUTED);
    canvas.text(fit(&figure.subtitle, subtitle, WIDTH - 2.0 * MARGIN), (MARGIN, 78.0), subtitle);
    canvas.append(&figure.canvas);
    let (lines, style) = below(figure, caption);
    for (line, text) in lines.iter().rev().enumerate() {
        canvas.text(text, (MARGIN, HEIGHT - 20.0 - line as f64 * style.size * 1.25), style);
    }
    canvas
}

/// The lines below a chart, units and notes before the caption, and how they are set: smaller where there is much to say.
fn below(figure: &Figure, caption: &str) -> (Vec<String>, Type) {
    let units = Some(figure.units).filter(|u| !u.is_empty());
    let notes = units.into_iter().chain(figure.notes.iter().map(String::as_str)).collect::<Vec<_>>().join(" · ");
    let set = |style: Type, count: usize| {
        let width = WIDTH - 2.0 * MARGIN;
        // The caption has what it needs, the rest has the lines that are left.
        let caption = wrap(caption, style, width, count - 1);
        let mut lines = wrap(&notes, style, width, count - caption.len());
        lines.extend(caption);
        (lines, style)
    };
    let usual = set(Type::new(SMALL_SIZE, palette::MUTED), LINES);
    let whole = usual.0.iter().all(|line| !line.ends_with('…'));
    if whole { usual } else { set(Type::new(SMALL_SIZE * 0.8, palette::MUTED), LINES + 1) }
}

/// A chart that says why it has no content.
pub fn nothing(title: &str, blank: &Blank) -> Figure {
    let mut figure = Figure { title: title.to_owned(), ..Figure::default() };
    let middle = (f64::midpoint(BODY.x0, BODY.x1), f64::midpoint(BODY.y0, BODY.y1));
    let (large, small) = (Type::new(30.0, palette::MUTED), Type::new(22.0, palette::MUTED));
    figure.canvas.text("Nothing to draw", (middle.0, middle.1 - 20.0), large.anchor(Anchor::Middle));
    for (line, text) in wrap(blank.reason(), small, BODY.width() - 40.0, 4).into_iter().enumerate() {
        figure.canvas.text(text, (middle.0, middle.1 + 22.0 + line as f64 * 30.0), small.anchor(Anchor::Middle));
    }
    figure
}
