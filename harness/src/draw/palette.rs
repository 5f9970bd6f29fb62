//! Colours, each for light and for dark paper: the palette of Okabe and Ito, which people with any colour vision tell
//! apart, lifted for dark paper, and greys for the frame.

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

/// The paper a chart is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Dark ink on white.
    Light,
    /// Light ink on near black.
    Dark,
}

impl Mode {
    /// Both, in the order of the files.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// What the name of a file of this mode ends in, before its ending.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Light => "",
            Self::Dark => "-dark",
        }
    }
}

/// A colour as it is on light and on dark paper. A chart is laid out once; its colours are chosen when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Color {
    /// On light paper.
    pub light: Rgb,
    /// On dark paper.
    pub dark: Rgb,
}

impl Color {
    /// A colour of both papers.
    pub const fn new(light: Rgb, dark: Rgb) -> Self {
        Self { light, dark }
    }

    /// The colour on the paper of `mode`.
    pub fn on(self, mode: Mode) -> Rgb {
        match mode {
            Mode::Light => self.light,
            Mode::Dark => self.dark,
        }
    }
}

/// Blue.
pub const BLUE: Color = Color::new((0, 114, 178), (92, 178, 240));
/// Vermilion.
pub const VERMILION: Color = Color::new((213, 94, 0), (255, 140, 80));
/// Bluish green.
pub const GREEN: Color = Color::new((0, 140, 102), (70, 203, 160));
/// Orange.
pub const ORANGE: Color = Color::new((230, 159, 0), (245, 186, 66));
/// Reddish purple.
pub const PURPLE: Color = Color::new((170, 85, 140), (224, 150, 200));
/// Text.
pub const INK: Color = Color::new((33, 37, 41), (233, 236, 239));
/// Text of second rank.
pub const MUTED: Color = Color::new((84, 91, 98), (178, 186, 194));
/// Reference points and leaders.
pub const FAINT: Color = Color::new((134, 140, 146), (138, 146, 154));
/// Grid lines.
pub const GRID: Color = Color::new((225, 228, 232), (58, 64, 70));
/// A card on the paper.
pub const CARD: Color = Color::new((244, 246, 248), (22, 25, 28));
/// Paper.
pub const PAPER: Color = Color::new((255, 255, 255), (33, 37, 41));

/// First, middle and last of the colours that have an order: from the least to the most contrast with the paper.
const ORDERED: [Color; 3] =
    [Color::new((86, 180, 233), (60, 118, 170)), BLUE, Color::new((0, 38, 84), (212, 235, 255))];

/// Both colours of `from` a `share` of the way to those of `to`.
pub fn mix(from: Color, to: Color, share: f64) -> Color {
    let share = share.clamp(0.0, 1.0);
    let channel = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    let rgb = |a: Rgb, b: Rgb| (channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2));
    Color::new(rgb(from.light, to.light), rgb(from.dark, to.dark))
}

fn luminance(color: Rgb) -> f64 {
    0.2126 * f64::from(color.0) + 0.7152 * f64::from(color.1) + 0.0722 * f64::from(color.2)
}

/// The colour for text: what is close to the paper moves towards the ink, so that it can be read.
pub fn text(color: Color) -> Color {
    let light = mix(color, INK, (luminance(color.light) - 92.0) / 150.0).light;
    let dark = mix(color, INK, (150.0 - luminance(color.dark)) / 110.0).dark;
    Color::new(light, dark)
}

/// One of `of` colours in order, in one hue, for series that have an order of their own: the last stands out most.
pub fn ordered(index: usize, of: usize) -> Color {
    let [first, middle, last] = ORDERED;
    let share = if of < 2 { 0.5 } else { index as f64 / (of - 1) as f64 };
    if share < 0.5 { mix(first, middle, share * 2.0) } else { mix(middle, last, share * 2.0 - 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of two colours as WCAG 2 defines it.
    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        let light = |c: Rgb| 0.2126 * linear(c.0) + 0.7152 * linear(c.1) + 0.0722 * linear(c.2);
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_of_every_colour_can_be_read_on_either_paper() {
        let series = [BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK, MUTED];
        let steps = (0..7).map(|i| ordered(i, 7));
        for color in series.into_iter().chain(steps).map(text).chain([INK, MUTED]) {
            for mode in Mode::ALL {
                let (text, paper) = (color.on(mode), PAPER.on(mode));
                assert!(contrast(text, paper) >= 4.5, "{text:?} on {paper:?}: {:.2}", contrast(text, paper));
            }
        }
    }

    #[test]
    fn lines_stand_out_from_either_paper() {
        for color in [BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK, FAINT].into_iter().chain(ORDERED) {
            for mode in Mode::ALL {
                assert!(contrast(color.on(mode), PAPER.on(mode)) >= 2.2, "{color:?} {mode:?}");
            }
        }
    }
}
