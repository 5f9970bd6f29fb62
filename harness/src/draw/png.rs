//! The PNG of a chart, rendered from its SVG with the compiled-in font alone.

use anyhow::Context as _;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::{canvas, font};

/// Pixels of the PNG per logical pixel: 1920 × 1080, a full slide.
const SCALE: f32 = 1.5;

/// Renders `svg` and gives the bytes of a PNG. Fails when it is not an SVG.
pub fn render(svg: &str) -> anyhow::Result<Vec<u8>> {
    let options = Options { fontdb: font::database(), font_family: font::FAMILY.to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("reading the chart's SVG")?;
    let side = |logical: f64| (logical * f64::from(SCALE)) as u32;
    let mut pixmap = Pixmap::new(side(canvas::WIDTH), side(canvas::HEIGHT)).context("allocating the picture")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().context("encoding the picture")
}
