//! What every chart has in common: title, subtitle, legend, notes and the caption that says which machine and run it
//! is of; and the statement that there is nothing to draw.

use std::path::Path;

use c2m_schema::table::ReadError;

use super::canvas::{Anchor, Canvas, HEIGHT, Rect, Type, WIDTH};
use super::number;
use super::palette::{self, Color};
use super::panel::fit;
use crate::rundir::RunDir;

/// Where charts draw: below the title and above the caption.
pub const BODY: Rect = Rect { x0: 16.0, y0: 104.0, x1: WIDTH - 16.0, y1: HEIGHT - 62.0 };

const MARGIN: f64 = 28.0;

/// A chart's content.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// What is shown, in a few words.
    pub title: String,
    /// One line: what the reader should see.
    pub subtitle: String,
    /// Names and colours of the lines.
    pub legend: Vec<(&'static str, Color)>,
    /// What was left out, and why.
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
    parts.push(if host.cpu_model.is_empty() { "unknown CPU".to_owned() } else { host.cpu_model.clone() });
    parts.push(cores(host.cores_allowed, host.cores_host));
    parts.push(number::bytes(host.memory_limit_bytes as f64));
    parts.push(format!("{} {}", host.os, host.kernel).trim().to_owned());
    parts.push(run.experiment().to_owned());
    parts.extend(record.label.clone());
    parts.push(day(&record.started_utc).to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// The cores a run could use, and those of the machine where they are more.
pub fn cores(allowed: u32, host: u32) -> String {
    let word = if allowed.max(host) == 1 { "core" } else { "cores" };
    if allowed == host || allowed == 0 { format!("{host} {word}") } else { format!("{allowed} of {host} {word}") }
}

fn day(rfc3339: &str) -> &str {
    rfc3339.split('T').next().unwrap_or(rfc3339)
}

/// The whole chart: frame, body, caption.
pub fn compose(figure: &Figure, caption: &str) -> Canvas {
    let mut canvas = Canvas::default();
    canvas.rect(Rect { x0: 0.0, y0: 0.0, x1: WIDTH, y1: HEIGHT }, palette::PAPER, 1.0);
    let title = Type::new(30.0, palette::INK).bold();
    canvas.text(fit(&figure.title, title, WIDTH - 2.0 * MARGIN), (MARGIN, 34.0), title);
    let mut right = WIDTH - MARGIN;
    let style = Type::new(18.0, palette::INK);
    for (name, color) in figure.legend.iter().rev() {
        canvas.text(*name, (right, 70.0), Type { color: palette::text(*color), ..style }.anchor(Anchor::End).bold());
        right -= style.bold().width(name);
        canvas.rect(Rect { x0: right - 34.0, y0: 67.0, x1: right - 8.0, y1: 73.0 }, *color, 1.0);
        right -= 58.0;
    }
    let subtitle = Type::new(19.0, palette::MUTED);
    canvas.text(fit(&figure.subtitle, subtitle, right - MARGIN), (MARGIN, 70.0), subtitle);
    canvas.append(&figure.canvas);
    let small = Type::new(15.0, palette::MUTED);
    if !figure.notes.is_empty() {
        canvas.text(fit(&figure.notes.join(" · "), small, WIDTH - 2.0 * MARGIN), (MARGIN, HEIGHT - 42.0), small);
    }
    canvas.text(fit(caption, small, WIDTH - 2.0 * MARGIN), (MARGIN, HEIGHT - 18.0), small);
    canvas
}

/// A chart that says why it has no content.
pub fn nothing(title: &str, blank: &Blank) -> Figure {
    let mut figure = Figure { title: title.to_owned(), ..Figure::default() };
    let middle = (f64::midpoint(BODY.x0, BODY.x1), f64::midpoint(BODY.y0, BODY.y1));
    let (large, small) = (Type::new(28.0, palette::FAINT), Type::new(19.0, palette::MUTED));
    figure.canvas.text("Nothing to draw", (middle.0, middle.1 - 20.0), large.anchor(Anchor::Middle));
    let reason = fit(blank.reason(), small, BODY.width() - 40.0);
    figure.canvas.text(reason, (middle.0, middle.1 + 22.0), small.anchor(Anchor::Middle));
    figure
}
