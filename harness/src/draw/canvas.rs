//! A list of things to draw, in logical pixels, and its rendering as SVG by plotters.
//!
//! Charts only append to the list, so that they can neither fail half-way nor depend on the backend. plotters has whole
//! pixels only; the SVG is drawn ten times as large and shown through its `viewBox`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Context as _;
use plotters::prelude::{Circle, DrawingArea, IntoDrawingArea, PathElement, Polygon, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, RGBColor, ShapeStyle, TextStyle};

use super::font;
use super::hover::Spots;
use super::palette::{self, Color, Mode, Rgb};

/// Width of every chart in logical pixels.
pub const WIDTH: f64 = 1280.0;
/// Height of every chart in logical pixels.
pub const HEIGHT: f64 = 720.0;
/// Empty room at the left and right of every chart.
pub const MARGIN: f64 = 28.0;
/// Units of the SVG per logical pixel.
const UNITS: f64 = 10.0;

/// Where a text's position lies in the text. Vertically it is always the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// At its middle.
    Middle,
    /// At its right end.
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Type {
    /// Size in logical pixels.
    pub size: f64,
    /// Colour.
    pub color: Color,
    /// Whether bold.
    pub bold: bool,
    /// Where the position lies.
    pub anchor: Anchor,
}

impl Type {
    /// Regular text that starts at its position.
    pub fn new(size: f64, color: Color) -> Self {
        Self { size, color, bold: false, anchor: Anchor::Start }
    }

    /// The same in bold.
    #[must_use]
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same with another anchor.
    #[must_use]
    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    /// Width of `text` in logical pixels.
    pub fn width(&self, text: &str) -> f64 {
        font::width(text, self.size, self.bold)
    }
}

/// A rectangle in logical pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x0: f64,
    /// Upper edge.
    pub y0: f64,
    /// Right edge.
    pub x1: f64,
    /// Lower edge.
    pub y1: f64,
}

impl Rect {
    /// Width.
    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }

    /// Height.
    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }

    /// Area that both cover.
    pub fn overlap(&self, other: &Self) -> f64 {
        let side = |a0: f64, a1: f64, b0: f64, b1: f64| (a1.min(b1) - a0.max(b0)).max(0.0);
        side(self.x0, self.x1, other.x0, other.x1) * side(self.y0, self.y1, other.y0, other.y1)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Path { points: Vec<(f64, f64)>, color: Color, alpha: f64, width: f64 },
    Fill { points: Vec<(f64, f64)>, color: Color, alpha: f64 },
    Rect { rect: Rect, color: Color, alpha: f64 },
    Dot { at: (f64, f64), radius: f64, color: Color, filled: bool },
    Text { text: String, at: (f64, f64), style: Type },
}

/// Things to draw, in order.
#[derive(Clone, Debug, Default)]
pub struct Canvas {
    ops: Vec<Op>,
    spots: Spots,
}

impl Canvas {
    /// An open line through `points`.
    pub fn path(&mut self, points: Vec<(f64, f64)>, color: Color, width: f64) {
        self.path_alpha(points, color, width, 1.0);
    }

    /// As [`Self::path`], with opacity `alpha` from 0 to 1.
    pub fn path_alpha(&mut self, points: Vec<(f64, f64)>, color: Color, width: f64, alpha: f64) {
        if points.len() > 1 {
            self.ops.push(Op::Path { points, color, alpha, width });
        }
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Color, width: f64) {
        self.path(vec![from, to], color, width);
    }

    /// A filled polygon with opacity `alpha`.
    pub fn fill(&mut self, points: Vec<(f64, f64)>, color: Color, alpha: f64) {
        if points.len() > 2 {
            self.ops.push(Op::Fill { points, color, alpha });
        }
    }

    /// A filled rectangle with opacity `alpha`.
    pub fn rect(&mut self, rect: Rect, color: Color, alpha: f64) {
        self.ops.push(Op::Rect { rect, color, alpha });
    }

    /// A filled circle.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, color: Color) {
        self.ops.push(Op::Dot { at, radius, color, filled: true });
    }

    /// A circle's outline.
    pub fn ring(&mut self, at: (f64, f64), radius: f64, color: Color) {
        self.ops.push(Op::Dot { at, radius, color, filled: false });
    }

    /// One line of text.
    pub fn text(&mut self, text: impl Into<String>, at: (f64, f64), style: Type) {
        let text = text.into();
        if !text.is_empty() {
            self.ops.push(Op::Text { text, at, style });
        }
    }

    /// One line of text over a strip of paper, so that it can be read where lines cross.
    pub fn halo(&mut self, text: impl Into<String>, at: (f64, f64), style: Type) {
        let text = text.into();
        let (width, half) = (style.width(&text), style.size * 0.55);
        let x0 = match style.anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2.0,
            Anchor::End => at.0 - width,
        };
        let rect = Rect { x0: x0 - 3.0, y0: at.1 - half, x1: x0 + width + 3.0, y1: at.1 + half };
        self.rect(rect, palette::PAPER, 0.85);
        self.text(text, at, style);
    }

    /// What a browser shows when the pointer is near `at`, a value a line; not painted, and made only where no other is.
    pub fn spot(&mut self, at: (f64, f64), text: impl FnOnce() -> String) {
        self.spots.put(at, text);
    }

    /// Everything of `other`, after what is here.
    pub fn append(&mut self, other: &Self) {
        self.ops.extend(other.ops.iter().cloned());
        self.spots.extend(&other.spots);
    }

    /// Every colour that is used, once each.
    pub fn colors(&self) -> BTreeSet<Color> {
        let of = |op: &Op| match op {
            Op::Path { color, .. } | Op::Fill { color, .. } | Op::Rect { color, .. } | Op::Dot { color, .. } => *color,
            Op::Text { style, .. } => style.color,
        };
        self.ops.iter().map(of).collect()
    }

    /// The document for the paper of `mode`: `title` and `description` for readers who do not see it, then everything in
    /// order.
    ///
    /// Fails only if the compiled-in font can't be read.
    pub fn to_svg(&self, mode: Mode, title: &str, description: &str) -> anyhow::Result<String> {
        font::register()?;
        let mut drawn = String::new();
        {
            let size = ((WIDTH * UNITS) as u32, (HEIGHT * UNITS) as u32);
            let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
            for op in &self.ops {
                draw(&area, mode, op)?;
            }
            area.present().context("drawing the chart")?;
        }
        let document = document(&drawn, title, description);
        Ok(document.replacen("</svg>", &(self.spots.group(UNITS) + "</svg>"), 1))
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn unit(value: f64) -> i32 {
    // Far outside the picture is far enough; a non-finite coordinate becomes 0 and never a panic.
    (value.clamp(-10_000.0, 10_000.0) * UNITS).round() as i32
}

fn units(point: (f64, f64)) -> (i32, i32) {
    (unit(point.0), unit(point.1))
}

fn shape(color: Rgb, alpha: f64, width: f64, filled: bool) -> ShapeStyle {
    let color = RGBColor(color.0, color.1, color.2).mix(alpha);
    ShapeStyle { color, filled, stroke_width: (width * UNITS).round().max(1.0) as u32 }
}

fn draw(area: &Area<'_>, mode: Mode, op: &Op) -> anyhow::Result<()> {
    match op {
        Op::Path { points, color, alpha, width } => {
            let points: Vec<_> = points.iter().copied().map(units).collect();
            area.draw(&PathElement::new(points, shape(color.on(mode), *alpha, *width, false)))
        }
        Op::Fill { points, color, alpha } => {
            let points: Vec<_> = points.iter().copied().map(units).collect();
            area.draw(&Polygon::new(points, shape(color.on(mode), *alpha, 0.0, true)))
        }
        Op::Rect { rect, color, alpha } => {
            let corners = [units((rect.x0, rect.y0)), units((rect.x1, rect.y1))];
            area.draw(&Rectangle::new(corners, shape(color.on(mode), *alpha, 0.0, true)))
        }
        Op::Dot { at, radius, color, filled } => {
            area.draw(&Circle::new(units(*at), unit(*radius), shape(color.on(mode), 1.0, 2.0, *filled)))
        }
        Op::Text { text, at, style } => {
            let (red, green, blue) = style.color.on(mode);
            let color = RGBColor(red, green, blue);
            let horizontal = match style.anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let set = TextStyle::from(font::description(style.size * UNITS, style.bold))
                .color(&color)
                .pos(Pos::new(horizontal, VPos::Center));
            area.draw(&Text::new(printable(text), units(*at), set))
        }
    }
    .map_err(|e| anyhow::anyhow!("drawing the chart: {e}"))
}

/// Control characters have no place in XML.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') { '\u{FFFD}' } else { c }).collect()
}

/// Text as it may stand between tags.
pub(crate) fn escape(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Replaces plotters' opening tag by one in logical pixels, and joins the lines that it breaks inside of texts, which
/// some renderers would show as spaces.
fn document(drawn: &str, title: &str, description: &str) -> String {
    let mut out = String::with_capacity(drawn.len() + 1024);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {} {}\" role=\"img\">",
        WIDTH * UNITS,
        HEIGHT * UNITS
    );
    let _ = writeln!(out, "<title>{}</title>\n<desc>{}</desc>", escape(title), escape(description));
    for line in drawn.lines().skip(1) {
        out.push_str(line.trim_end());
        if !line.starts_with("<text") && !is_text_content(line) {
            out.push('\n');
        }
    }
    out
}

fn is_text_content(line: &str) -> bool {
    !line.starts_with('<')
}

/// The rules that turn the document for light paper into that for dark paper, for a page that shows it inside of the
/// element `#id`: attributes of an SVG give way to rules.
pub fn dark_rules(colors: &BTreeSet<Color>, id: &str) -> String {
    let hex = |(red, green, blue): Rgb| format!("#{red:02X}{green:02X}{blue:02X}");
    let mut rules = String::new();
    for color in colors {
        let (light, dark) = (hex(color.light), hex(color.dark));
        for part in ["fill", "stroke"] {
            let _ = write!(rules, "#{id} svg [{part}=\"{light}\"]{{{part}:{dark}}}");
        }
    }
    rules
}

/// The same document with the font inside, as it is written to disk.
pub fn with_font(svg: &str) -> String {
    svg.replacen("</desc>\n", &format!("</desc>\n<style>{}</style>\n", font::css()), 1)
}
