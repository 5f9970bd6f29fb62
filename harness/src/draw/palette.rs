//! Colours: the palette of Okabe and Ito, which people with any colour vision tell apart, and greys for the frame.

/// A colour: red, green, blue.
pub type Color = (u8, u8, u8);

/// Blue.
pub const BLUE: Color = (0, 114, 178);
/// Vermilion.
pub const VERMILION: Color = (213, 94, 0);
/// Bluish green.
pub const GREEN: Color = (0, 140, 102);
/// Orange.
pub const ORANGE: Color = (230, 159, 0);
/// Sky blue.
pub const SKY: Color = (86, 180, 233);
/// Reddish purple.
pub const PURPLE: Color = (170, 85, 140);
/// Text.
pub const INK: Color = (33, 37, 41);
/// Text of second rank.
pub const MUTED: Color = (92, 99, 106);
/// Reference points and leaders.
pub const FAINT: Color = (140, 146, 152);
/// Grid lines.
pub const GRID: Color = (225, 228, 232);
/// Paper.
pub const PAPER: Color = (255, 255, 255);

/// A colour `share` of the way from `from` to `to`.
pub fn mix(from: Color, to: Color, share: f64) -> Color {
    let share = share.clamp(0.0, 1.0);
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    (channel(from.0, to.0), channel(from.1, to.1), channel(from.2, to.2))
}

/// The colour for text: the pale ones darker, so that they can be read on paper.
pub fn text(color: Color) -> Color {
    let luminance = 0.2126 * f64::from(color.0) + 0.7152 * f64::from(color.1) + 0.0722 * f64::from(color.2);
    mix(color, INK, (luminance - 100.0) / 170.0)
}

/// One of `of` colours in order, light to dark in one hue, for series that have an order of their own.
pub fn ordered(index: usize, of: usize) -> Color {
    let share = if of < 2 { 1.0 } else { index as f64 / (of - 1) as f64 };
    if share < 0.5 { mix(SKY, BLUE, share * 2.0) } else { mix(BLUE, (0, 38, 84), share * 2.0 - 1.0) }
}
