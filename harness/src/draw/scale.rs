//! From values to pixels: linear and logarithmic scales, and their ticks. Pure functions, total for every input: an empty
//! range, equal values, zero or less on a logarithmic scale and non-finite values all give a usable scale.

/// Most ticks an axis can have, whatever its range.
const TICKS_MAX: usize = 64;

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Equal differences are equal lengths.
    Linear,
    /// Equal ratios are equal lengths. Zero and less have no place.
    Log,
}

/// A scale over a closed range, rounded outwards to round numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Linear or logarithmic.
    pub kind: Kind,
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
    /// Values at which a grid line is drawn, rising.
    pub ticks: Vec<f64>,
    pixel_min: f64,
    pixel_max: f64,
}

/// The range of the finite values; none without any.
pub fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((min, max)) => Some((min.min(v), max.max(v))),
    })
}

/// The largest of 1, 2, 3, 5, 7 × 10ⁿ that is not above `value`, which must be positive.
fn round_down(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    // A little tolerance: 10³ computed through a logarithm may come out as 999.999….
    [7.0, 5.0, 3.0, 2.0, 1.0]
        .into_iter()
        .map(|m| m * decade)
        .find(|step| *step <= value * (1.0 + 1e-9))
        .unwrap_or(decade)
}

/// The smallest of `mantissas` × 10ⁿ that is not below `value`, which must be positive.
fn round_up(value: f64, mantissas: &[f64]) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    mantissas.iter().map(|m| m * decade).find(|s| *s >= value * (1.0 - 1e-9)).unwrap_or(value)
}

impl Scale {
    /// A linear scale from `min` to `max`, at most about `wanted` ticks; zero belongs to it when the values come near.
    pub fn linear(min: f64, max: f64, wanted: usize) -> Self {
        let sound = min.is_finite() && max.is_finite() && min.abs().max(max.abs()) > 1e-100;
        let (mut min, mut max) = if sound { (min.min(max), min.max(max)) } else { (0.0, 1.0) };
        if min > 0.0 && min < 0.6 * max {
            min = 0.0;
        }
        if max - min <= max.abs().max(min.abs()) * 1e-9 {
            // Equal values: a range about them that has a width.
            let margin = if max == 0.0 { 1.0 } else { max.abs() * 0.5 };
            (min, max) = if max > 0.0 { (0.0, max + margin) } else { (min - margin, max.max(0.0) + margin) };
        }
        let step = round_up((max - min) / wanted.clamp(1, TICKS_MAX) as f64, &[1.0, 2.0, 5.0, 10.0]);
        let (first, last) = ((min / step + 1e-9).floor(), (max / step - 1e-9).ceil());
        let count = ((last - first) as usize).min(TICKS_MAX);
        let ticks: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
        Self { kind: Kind::Linear, min: first * step, max: last * step, ticks, pixel_min: 0.0, pixel_max: 1.0 }
    }

    /// A linear scale that ends at `max` exactly: for time, where the room after the last value would mislead.
    pub fn linear_tight(min: f64, max: f64, wanted: usize) -> Self {
        let mut scale = Self::linear(min, max, wanted);
        if max.is_finite() && max > scale.min && max > scale.max * 1e-3 {
            scale.max = max;
            scale.ticks.retain(|t| *t <= max * (1.0 + 1e-9));
        }
        scale
    }

    /// A linear scale from `min` to `max` exactly, without ticks: for places in an order.
    pub fn exact(min: f64, max: f64) -> Self {
        let max = if max > min { max } else { min + 1.0 };
        Self { kind: Kind::Linear, min, max, ticks: Vec::new(), pixel_min: 0.0, pixel_max: 1.0 }
    }

    /// A logarithmic scale over the positive part of `min` to `max`.
    pub fn log(min: f64, max: f64) -> Self {
        const UP: &[f64] = &[1.0, 2.0, 3.0, 5.0, 7.0, 10.0];
        let sound = |v: f64| v.is_finite() && v > 0.0;
        let (min, max) = match (sound(min), sound(max)) {
            (true, true) => (min.min(max), min.max(max)),
            (false, true) => (max / 10.0, max),
            _ => (1.0, 10.0),
        };
        let (mut min, mut max) = (round_down(min.clamp(1e-12, 1e18)), round_up(max.clamp(1e-12, 1e18), UP));
        if max / min < 1.5 {
            (min, max) = (round_down(min * 0.7), round_up(max * 1.4, UP));
        }
        let mut scale = Self { kind: Kind::Log, min, max, ticks: Vec::new(), pixel_min: 0.0, pixel_max: 1.0 };
        scale.ticks = scale.log_ticks();
        scale
    }

    /// 1, 2, 5 over three decades or less, else whole decades, and every other decade beyond nine.
    fn log_ticks(&self) -> Vec<f64> {
        let (first, last) = (self.min.log10().floor() as i32, self.max.log10().ceil() as i32);
        let decades = (self.max / self.min).log10();
        let mantissas: &[f64] = if decades <= 1.01 {
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
        } else if decades <= 3.2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let stride = if decades > 9.0 { 2 } else { 1 };
        let within = |v: &f64| *v >= self.min * (1.0 - 1e-9) && *v <= self.max * (1.0 + 1e-9);
        (first..=last)
            .step_by(stride)
            .flat_map(|decade| mantissas.iter().map(move |m| m * 10f64.powi(decade)))
            .filter(within)
            .take(TICKS_MAX)
            .collect()
    }

    /// The same scale from pixel `from` (its lower end) to pixel `to`.
    #[must_use]
    pub fn onto(self, from: f64, to: f64) -> Self {
        Self { pixel_min: from, pixel_max: to, ..self }
    }

    /// Whether the value has a place: finite, and positive on a logarithmic scale.
    pub fn takes(&self, value: f64) -> bool {
        value.is_finite() && (self.kind == Kind::Linear || value > 0.0)
    }

    /// The pixel of `value`; values outside the range lie outside the pixels. The lower end for what has no place.
    pub fn pixel(&self, value: f64) -> f64 {
        if !self.takes(value) {
            return self.pixel_min;
        }
        let share = match self.kind {
            Kind::Linear => (value - self.min) / (self.max - self.min),
            Kind::Log => (value.ln() - self.min.ln()) / (self.max.ln() - self.min.ln()),
        };
        self.pixel_min + share * (self.pixel_max - self.pixel_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_gives_a_scale_with_a_width_and_bounded_ticks() {
        let odd = [0.0, 1.0, -1.0, 2.0, 8.0, 1e-9, 1e18, -1e18, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e300];
        for a in odd {
            for b in odd {
                for scale in [Scale::linear(a, b, 6), Scale::linear_tight(a, b, 6), Scale::log(a, b)] {
                    assert!(scale.max > scale.min, "{a} {b} {scale:?}");
                    assert!(scale.ticks.len() <= TICKS_MAX + 1, "{a} {b}");
                    assert!(scale.clone().onto(0.0, 100.0).pixel(a).is_finite(), "{a} {b} {scale:?}");
                }
            }
        }
    }

    #[test]
    fn a_log_axis_narrower_than_a_decade_has_ticks() {
        let scale = Scale::log(2.0, 8.0);
        assert_eq!((scale.min, scale.max), (2.0, 10.0));
        assert_eq!(scale.ticks, [2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn linear_ticks_are_round_and_enclose_the_values() {
        let scale = Scale::linear(0.0, 2_280_000.0, 6);
        assert_eq!(scale.ticks, [0.0, 500_000.0, 1_000_000.0, 1_500_000.0, 2_000_000.0, 2_500_000.0]);
        let scale = Scale::linear(-12.0, 30.0, 5);
        assert!(scale.min <= -12.0 && scale.max >= 30.0 && scale.ticks.contains(&0.0));
    }
}
