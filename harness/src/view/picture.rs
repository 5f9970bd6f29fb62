//! The cells of the live view as SVG and PNG, with a font that is compiled in: the same bytes on every machine.
//!
//! The two files are subsets of `DejaVu Sans Mono` 2.37 (licence beside them), made as those of the charts are, of
//! `U+0020-007E,U+00A0-00FF,U+2013,U+2014,U+2022,U+2026,U+2212,U+03BC,U+FFFD`. Lines, blocks and Braille dots are drawn, so
//! that they meet at the borders of cells.

use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::draw::{Theme, draw};
use super::state::View;
use crate::draw::canvas::escape;
use crate::draw::palette::Rgb;
use crate::draw::{font, png};

const FAMILY: &str = "DejaVu Sans Mono";
const REGULAR: &[u8] = include_bytes!("../../assets/DejaVuSansMono-subset.ttf");
const BOLD: &[u8] = include_bytes!("../../assets/DejaVuSansMono-Bold-subset.ttf");

/// Size of a cell and of its text, in logical pixels. A sign of the font is 1233 of 2048 units wide.
const CELL: (f64, f64) = (9.6, 20.0);
const TEXT: f64 = CELL.0 * 2048.0 / 1233.0;
/// Of the line that signs stand on, below the upper edge of the cell.
const BASE: f64 = 15.0;
/// Around the cells.
const MARGIN: f64 = 14.0;

const PAPER: Rgb = (16, 20, 26);
const INK: Rgb = (220, 224, 230);

/// Draws `view` as it would be on a terminal of this size.
pub fn cells(view: &View, now_s: f64, theme: Theme, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = match Terminal::new(TestBackend::new(columns, rows)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| draw(frame, view, now_s, theme)) {
        Ok(_) => terminal.backend().buffer().clone(),
        Err(never) => match never {},
    }
}

/// The cells as an SVG that carries its font.
pub fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let (width, height) =
        (f64::from(area.width) * CELL.0 + 2.0 * MARGIN, f64::from(area.height) * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.1}\" height=\"{height:.1}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\" role=\"img\">\n<title>{}</title>\n<style>{}</style>\n\
         <rect width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\" fill=\"{}\"/>\n\
         <g font-family=\"{FAMILY}\" font-size=\"{TEXT:.2}\">\n",
        escape(title),
        font::faces(FAMILY, REGULAR, BOLD),
        hex(PAPER),
    );
    for y in 0..area.height {
        row(&mut out, buffer, y);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// The PNG of such an SVG. Fails when it is none.
pub fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    png::render_with(svg, font::alone(FAMILY, REGULAR, BOLD), FAMILY)
}

/// How a cell is set.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    ink: Rgb,
    paper: Rgb,
    bold: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let (mut ink, mut paper) = (rgb(cell.fg, INK), rgb(cell.bg, PAPER));
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut ink, &mut paper);
        }
        if cell.modifier.contains(Modifier::DIM) {
            ink = faint(ink, paper);
        }
        Self { ink, paper, bold: cell.modifier.contains(Modifier::BOLD) }
    }
}

/// What terminals make of dim text.
fn faint(ink: Rgb, paper: Rgb) -> Rgb {
    let channel = |a: u8, b: u8| ((u16::from(a) * 58 + u16::from(b) * 42) / 100) as u8;
    (channel(ink.0, paper.0), channel(ink.1, paper.1), channel(ink.2, paper.2))
}

/// The terminal's own colours, as far as the view uses them.
fn rgb(color: Color, otherwise: Rgb) -> Rgb {
    match color {
        Color::Green => (92, 200, 120),
        Color::Yellow => (232, 184, 76),
        Color::Red => (240, 98, 92),
        Color::Cyan => (86, 190, 214),
        Color::Rgb(r, g, b) => (r, g, b),
        _ => otherwise,
    }
}

fn row(out: &mut String, buffer: &Buffer, y: u16) {
    let top = MARGIN + f64::from(y) * CELL.1;
    let at = |x: u16| &buffer[(x, y)];
    let mut x = 0;
    while x < buffer.area.width {
        let look = Look::of(at(x));
        let end = (x..buffer.area.width).find(|&i| Look::of(at(i)) != look).unwrap_or(buffer.area.width);
        if look.paper != PAPER {
            let (left, width) = (left(x), f64::from(end - x) * CELL.0);
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                CELL.1,
                hex(look.paper)
            );
        }
        let (mut places, mut text) = (String::new(), String::new());
        for i in x..end {
            let sign = at(i).symbol().chars().next().unwrap_or(' ');
            if !drawn(out, sign, (left(i), top), look.ink) && sign != ' ' {
                let _ = write!(places, "{:.1} ", left(i));
                text.push(sign);
            }
        }
        if !text.is_empty() {
            let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
            let (places, text, base) = (places.trim_end(), escape(&text), top + BASE);
            let _ =
                writeln!(out, "<text x=\"{places}\" y=\"{base:.1}\" fill=\"{}\"{weight}>{text}</text>", hex(look.ink));
        }
        x = end;
    }
}

fn left(x: u16) -> f64 {
    MARGIN + f64::from(x) * CELL.0
}

/// Draws a sign that is no letter; says whether it is one.
fn drawn(out: &mut String, sign: char, (x, y): (f64, f64), ink: Rgb) -> bool {
    let fill = hex(ink);
    let mut rect = |x: f64, y: f64, width: f64, height: f64| {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{fill}\"/>"
        );
    };
    let (width, height, thick) = (CELL.0, CELL.1, 1.2);
    let (middle_x, middle_y) = (x + (width - thick) / 2.0, y + (height - thick) / 2.0);
    match sign {
        '─' => rect(x, middle_y, width, thick),
        '│' => rect(middle_x, y, thick, height),
        '└' => {
            rect(middle_x, y, thick, height / 2.0 + thick / 2.0);
            rect(middle_x, middle_y, x + width - middle_x, thick);
        }
        '▁'..='█' => {
            let part = f64::from(sign as u32 - '▁' as u32 + 1) / 8.0 * height;
            rect(x, y + height - part, width, part);
        }
        '\u{2800}'..='\u{28FF}' => braille(out, sign as u32 - 0x2800, (x, y), &fill),
        _ => return false,
    }
    true
}

/// The dots of a Braille sign: bits 0 to 2 and 6 down the left, 3 to 5 and 7 down the right.
fn braille(out: &mut String, bits: u32, (x, y): (f64, f64), fill: &str) {
    for (bit, (column, row)) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)].into_iter().enumerate()
    {
        if bits >> bit & 1 == 1 {
            let (cx, cy) =
                (x + CELL.0 * (0.25 + 0.5 * f64::from(column)), y + CELL.1 * (0.125 + 0.25 * f64::from(row)));
            let _ = writeln!(out, "<circle cx=\"{cx:.2}\" cy=\"{cy:.2}\" r=\"1.7\" fill=\"{fill}\"/>");
        }
    }
}

fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_every_letter_where_its_cell_is_and_is_the_same_each_time() {
        let mut view = View::new("a<b>&c");
        view.line("<script>", false);
        let buffer = cells(&view, 0.0, Theme { color: true }, (80, 24));
        let svg = svg(&buffer, "live & well");
        assert!(svg.contains("a&lt;b&gt;&amp;c") && svg.contains("<title>live &amp; well</title>"));
        assert!(!svg.contains("<script>"));
        let png = png(&svg).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert_eq!(super::png(&svg).unwrap(), png);
    }

    #[test]
    fn braille_dots_are_where_unicode_says() {
        let mut out = String::new();
        braille(&mut out, 0b1000_0001, (0.0, 0.0), "#000000");
        assert_eq!(out.matches("<circle").count(), 2);
        assert!(out.contains("cx=\"2.40\" cy=\"2.50\"") && out.contains("cx=\"7.20\" cy=\"17.50\""), "{out}");
    }
}
