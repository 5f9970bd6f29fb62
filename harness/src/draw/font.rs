//! The one font of every chart, compiled in: measured by plotters, embedded into each SVG, and the only font that the PNG
//! renderer knows. A machine without fonts draws the same bytes.
//!
//! The two files are subsets of `DejaVu Sans` 2.37 (licence beside them), made with fonttools: `pyftsubset DejaVuSans.ttf
//! --unicodes=U+0020-007E,U+00A0-00FF,U+2009,U+202F,U+2013,U+2014,U+2018,U+2019,U+201C,U+201D,U+2022,U+2026,U+2190-2193,
//! U+2212,U+03BC,U+03A3,U+2248,U+2260,U+2264,U+2265,U+25A0,U+25CF,U+25C6,U+FFFD --layout-features= --no-hinting
//! --drop-tables+=GPOS,GSUB,GDEF,kern,FFTM,MATH --notdef-outline`. Without kerning every renderer sets the same widths.

use std::sync::{Arc, LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};
use resvg::usvg::fontdb;

/// Family name, in the files and in the SVG.
pub const FAMILY: &str = "DejaVu Sans";
/// Regular weight.
pub const REGULAR: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");
/// Bold weight.
pub const BOLD: &[u8] = include_bytes!("../../assets/DejaVuSans-Bold-subset.ttf");

/// Ascent and descent of the font in em: what plotters takes the size of a font to be when it measures.
const HEIGHT_EM: f64 = 2384.0 / 2048.0;
/// plotters writes its font size over this number into the SVG.
const PLOTTERS_SIZE: f64 = 1.24;

static REGISTERED: LazyLock<bool> = LazyLock::new(|| {
    let regular = register_font(FAMILY, FontStyle::Normal, REGULAR);
    let bold = register_font(FAMILY, FontStyle::Bold, BOLD);
    regular.is_ok() && bold.is_ok()
});

/// Makes the font known to plotters. Fails only if the compiled-in bytes are no font.
pub fn register() -> anyhow::Result<()> {
    anyhow::ensure!(*REGISTERED, "the compiled-in font can't be read");
    Ok(())
}

fn style(bold: bool) -> FontStyle {
    if bold { FontStyle::Bold } else { FontStyle::Normal }
}

/// The font for plotters such that the SVG says `size` pixels.
pub fn description(size: f64, bold: bool) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FAMILY), size * PLOTTERS_SIZE, style(bold))
}

/// Width of `text` in pixels when set in `size` pixels.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    /// Measured this large, since plotters rounds to whole pixels.
    const EM: f64 = 1000.0;
    let measured = register().ok().and_then(|()| {
        let font = FontDesc::new(FontFamily::Name(FAMILY), EM * HEIGHT_EM, style(bold));
        font.layout_box(text).ok()
    });
    let em = measured.map_or(0.6 * text.chars().count() as f64, |((x0, _), (x1, _))| f64::from(x1 - x0) / EM);
    em * size
}

/// The `@font-face` rules that carry the font.
pub fn css() -> &'static str {
    static CSS: LazyLock<String> = LazyLock::new(|| faces(FAMILY, REGULAR, BOLD));
    &CSS
}

/// The `@font-face` rules that carry a font of two weights.
pub fn faces(family: &str, regular: &[u8], bold: &[u8]) -> String {
    let face = |weight: &str, bytes: &[u8]| {
        format!(
            "@font-face{{font-family:\"{family}\";font-weight:{weight};src:url(data:font/ttf;base64,{}) format(\"truetype\")}}",
            BASE64.encode(bytes)
        )
    };
    face("normal", regular) + &face("bold", bold)
}

/// A font database that holds this font and no other.
pub fn database() -> Arc<fontdb::Database> {
    static DATABASE: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| alone(FAMILY, REGULAR, BOLD));
    DATABASE.clone()
}

/// A font database that holds a font of two weights and no other.
pub fn alone(family: &str, regular: &[u8], bold: &[u8]) -> Arc<fontdb::Database> {
    let mut database = fontdb::Database::new();
    database.load_font_data(regular.to_vec());
    database.load_font_data(bold.to_vec());
    database.set_sans_serif_family(family);
    Arc::new(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_of_the_charts_is_in_the_font() {
        assert!(register().is_ok());
        let database = database();
        assert_eq!(database.len(), 2);
        let missing = width("\u{10FFFF}", 100.0, false);
        for sign in "µ×·–—…≤≥÷−→←↑↓•".chars() {
            let text = sign.to_string();
            assert!(width(&text, 100.0, false) > 0.0, "{sign}");
            assert!((width(&text, 100.0, false) - missing).abs() > 0.01 || "—…→←".contains(sign), "{sign}");
        }
    }

    #[test]
    fn width_is_that_of_the_font() {
        // A digit of DejaVu Sans is 1303 of 2048 units wide.
        assert!((width("0000", 100.0, false) - 4.0 * 100.0 * 1303.0 / 2048.0).abs() < 0.5);
    }
}
