//! Values on hover: invisible spots over a chart, each with a text that a browser shows for it. Pure data.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Logical pixels that a spot has to itself. What comes later within the same square is left out, which also bounds how
/// many there can be.
const CELL: f64 = 8.0;

/// Spots of one chart.
#[derive(Clone, Debug, Default)]
pub struct Spots {
    spots: Vec<((f64, f64), String)>,
    taken: BTreeSet<(i64, i64)>,
}

impl Spots {
    /// A spot at a place in logical pixels, unless there is one already. Its text has a value a line.
    pub fn put(&mut self, at: (f64, f64), text: impl FnOnce() -> String) {
        let cell = |v: f64| (v / CELL).floor() as i64;
        if at.0.is_finite() && at.1.is_finite() && self.taken.insert((cell(at.0), cell(at.1))) {
            self.spots.push((at, text()));
        }
    }

    /// Those of `other` that have room.
    pub fn extend(&mut self, other: &Self) {
        for (at, text) in &other.spots {
            self.put(*at, || text.clone());
        }
    }

    /// The spots as a group of an SVG in which a logical pixel has so many units; empty without spots. Nothing of it is
    /// painted.
    pub fn group(&self, units: f64) -> String {
        if self.spots.is_empty() {
            return String::new();
        }
        let mut out = String::from("<g class=\"spots\" fill=\"none\" pointer-events=\"all\">\n");
        for ((x, y), text) in &self.spots {
            let [x, y, radius] = [*x, *y, CELL].map(|v| (v * units).round());
            let _ =
                writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"><title>{}</title></circle>", lines(text));
        }
        out.push_str("</g>\n");
        out
    }
}

/// The text with its line breaks kept and everything else that XML does not take replaced.
fn lines(text: &str) -> String {
    text.split('\n').map(super::canvas::escape).collect::<Vec<_>>().join("&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots_are_few_however_many_points_there_are() {
        let mut spots = Spots::default();
        for i in 0..100_000 {
            spots.put((f64::from(i) / 100.0, 50.0), || format!("{i}"));
        }
        let group = spots.group(10.0);
        assert_eq!(group.matches("<circle").count(), 125);
        assert!(group.starts_with("<g ") && group.contains("<title>0</title>"));
        spots.put((f64::NAN, 1.0), || "nowhere".to_owned());
        spots.extend(&spots.clone());
        assert_eq!(spots.group(10.0), group);
    }

    #[test]
    fn a_text_is_escaped_and_keeps_its_lines() {
        let mut spots = Spots::default();
        spots.put((1.0, 2.0), || "<b> & \u{1}\nsecond".to_owned());
        assert!(
            spots
                .group(10.0)
                .contains("<circle cx=\"10\" cy=\"20\" r=\"80\"><title>&lt;b&gt; &amp; \u{FFFD}&#10;second<")
        );
        assert_eq!(Spots::default().group(10.0), "");
    }
}
