//! One pair of axes: grid, tick labels, titles, and labels beside the ends of lines.

use super::canvas::{Anchor, Canvas, MARGIN, Rect, Type};
use super::labels::spread;
use super::palette::{self, Color};
use super::scale::{Kind, Scale};

/// Size of tick labels and axis titles.
pub const AXIS_SIZE: f64 = 22.0;
/// Size of labels beside lines and points.
pub const LABEL_SIZE: f64 = 22.0;
/// Size of the smallest text: 9 pixels where the chart is shown 600 wide.
pub const SMALL_SIZE: f64 = 20.0;
/// Room below a plot area for tick labels and the title of its axis.
pub const AXIS_ROOM: f64 = 66.0;

/// A plot area with its two scales.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The plot area in logical pixels.
    pub plot: Rect,
    /// Horizontal scale, onto the area.
    pub x: Scale,
    /// Vertical scale, onto the area.
    pub y: Scale,
    /// How far above the area the vertical axis' title stands.
    pub title_lift: f64,
}

/// How an axis reads.
pub struct Axis<'a> {
    /// What it shows, with the unit.
    pub title: &'a str,
    /// A tick's label.
    pub format: &'a dyn Fn(f64) -> String,
}

/// A label for the end of a line.
#[derive(Clone, Debug)]
pub struct EndLabel {
    /// Text.
    pub text: String,
    /// Where the line ends, in logical pixels.
    pub at: (f64, f64),
    /// Colour of the line.
    pub color: Color,
    /// Whether bold.
    pub bold: bool,
}

impl Panel {
    /// A panel over `plot`; the scales are laid onto it.
    pub fn new(plot: Rect, x: Scale, y: Scale) -> Self {
        Self { plot, x: x.onto(plot.x0, plot.x1), y: y.onto(plot.y1, plot.y0), title_lift: 28.0 }
    }

    /// The place of a pair of values, held within the plot area; none where a value has no place on its scale.
    pub fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        (self.x.takes(x) && self.y.takes(y)).then(|| {
            let px = self.x.pixel(x).clamp(self.plot.x0, self.plot.x1);
            let py = self.y.pixel(y).clamp(self.plot.y0, self.plot.y1);
            (px, py)
        })
    }

    /// Draws the grid with labels and titles. Tick labels that would touch the one before are left out.
    pub fn axes(&self, canvas: &mut Canvas, x: Option<&Axis<'_>>, y: &Axis<'_>) {
        let Rect { x0, y0, x1, y1 } = self.plot;
        let style = Type::new(AXIS_SIZE, palette::MUTED);
        let (mut above, mut widest) = (f64::INFINITY, 0f64);
        for tick in &self.y.ticks {
            let at = self.y.pixel(*tick);
            canvas.line((x0, at), (x1, at), palette::GRID, 1.0);
            if above - at >= AXIS_SIZE * 1.15 {
                let label = (y.format)(*tick);
                widest = widest.max(style.width(&label));
                canvas.text(label, (x0 - 10.0, at), style.anchor(Anchor::End));
                above = at;
            }
        }
        if let Some(x) = x {
            let mut reached = f64::NEG_INFINITY;
            for tick in &self.x.ticks {
                let at = self.x.pixel(*tick);
                canvas.line((at, y0), (at, y1), palette::GRID, 1.0);
                let label = (x.format)(*tick);
                let half = style.width(&label) / 2.0;
                if at - half >= reached + 14.0 {
                    canvas.text(label, (at, y1 + 20.0), style.anchor(Anchor::Middle));
                    reached = at + half;
                }
            }
            canvas.text(x.title, (f64::midpoint(x0, x1), y1 + 50.0), style.anchor(Anchor::Middle));
        }
        canvas.text(y.title, ((x0 - 10.0 - widest).max(MARGIN), y0 - self.title_lift), style);
        let base =
            if self.y.kind == Kind::Linear && self.y.min < 0.0 && self.y.max > 0.0 { self.y.pixel(0.0) } else { y1 };
        canvas.line((x0, base), (x1, base), palette::FAINT, 1.5);
    }

    /// Labels beside the area's right edge, each at the height of its line's end, moved apart where they would touch. A
    /// leader runs from the line's end where it is not at the edge or the label had to move.
    pub fn end_labels(&self, canvas: &mut Canvas, labels: &[EndLabel], size: f64) {
        let wanted: Vec<f64> = labels.iter().map(|l| l.at.1).collect();
        let places = spread(&wanted, size * 1.2, self.plot.y0, self.plot.y1);
        let (edge, left) = (self.plot.x1, self.plot.x1 + 16.0);
        for (label, place) in labels.iter().zip(places) {
            let (x, y) = label.at;
            if edge - x > 2.0 || (place - y).abs() > 2.0 {
                let color = palette::mix(label.color, palette::PAPER, 0.6);
                canvas.path(vec![(x + 2.0, y), (edge.max(x + 2.0), y), (left - 4.0, place)], color, 1.0);
            }
            let style = Type { bold: label.bold, ..Type::new(size, palette::text(label.color)) };
            canvas.text(&label.text, (left, place), style);
        }
    }
}

/// `text` in lines no wider than `width`, broken at spaces; at most `lines`, the last cut where that is not enough.
pub fn wrap(text: &str, style: Type, width: f64, lines: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let full = out.len() >= lines;
        match out.last_mut() {
            Some(line) if full || style.width(&format!("{line} {word}")) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
    }
    out.truncate(lines);
    out.iter().map(|line| fit(line, style, width)).collect()
}

/// `text` cut to `width` logical pixels, with an ellipsis where it was cut.
pub fn fit(text: &str, style: Type, width: f64) -> String {
    if style.width(text) <= width {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let cut = |n: usize| chars[..n].iter().collect::<String>().trim_end().to_owned() + "…";
    // Bisection, since a caption may be as long as somebody's label.
    let (mut low, mut high) = (0, chars.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if style.width(&cut(middle)) <= width { low = middle } else { high = middle - 1 }
    }
    cut(low)
}
