//! The PNG of an SVG, rendered with the fonts that are given alone.

use std::sync::Arc;

use anyhow::Context as _;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::font;

/// Pixels of the PNG per logical pixel: 1920 × 1080 for a chart, a full slide.
const SCALE: f32 = 1.5;

/// Renders a chart's `svg` and gives the bytes of a PNG. Fails when it is not an SVG.
pub fn render(svg: &str) -> anyhow::Result<Vec<u8>> {
    render_with(svg, font::database(), font::FAMILY)
}

/// As [`render`], with other fonts, of which `family` stands in for what is not there.
pub fn render_with(svg: &str, fontdb: Arc<fontdb::Database>, family: &str) -> anyhow::Result<Vec<u8>> {
    let options = Options { fontdb, font_family: family.to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("reading the picture's SVG")?;
    let size = tree.size();
    let side = |logical: f32| (logical * SCALE).ceil() as u32;
    let mut pixmap = Pixmap::new(side(size.width()), side(size.height())).context("allocating the picture")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().context("encoding the picture")
}
