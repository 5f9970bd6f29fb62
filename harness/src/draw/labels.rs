//! Places for labels, so that none covers another. Pure functions, same places for the same input.

use super::canvas::Rect;

/// Positions near `wanted` that are at least `gap` apart and within `low` to `high`, in the order of `wanted`. Closer
/// together only when that many don't fit.
pub fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let count = wanted.len();
    if count == 0 {
        return Vec::new();
    }
    let gap = if count > 1 { gap.min((high - low) / (count - 1) as f64) } else { gap };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]).then(a.cmp(b)));
    // Groups of labels that touch move together, each about the mean of what its members want.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    for index in &order {
        groups.push((wanted[*index], 1));
        while let [.., (upper, n), (lower, m)] = groups[..] {
            if lower - upper >= gap * (n + m) as f64 / 2.0 {
                break;
            }
            groups.truncate(groups.len() - 2);
            groups.push(((upper * n as f64 + lower * m as f64) / (n + m) as f64, n + m));
        }
    }
    let mut places = Vec::with_capacity(count);
    for (middle, size) in groups {
        places.extend((0..size).map(|i| middle + gap * (i as f64 - (size - 1) as f64 / 2.0)));
    }
    let mut floor = low;
    for place in &mut places {
        *place = place.max(floor);
        floor = *place + gap;
    }
    let mut ceiling = high;
    for place in places.iter_mut().rev() {
        *place = place.min(ceiling);
        ceiling = *place - gap;
    }
    let mut out = vec![0.0; count];
    for (index, place) in order.into_iter().zip(places) {
        out[index] = place;
    }
    out
}

/// Finds room for boxes near points, away from what is already there.
#[derive(Clone, Debug)]
pub struct Placer {
    bounds: Rect,
    taken: Vec<Rect>,
}

impl Placer {
    /// Nothing placed yet within `bounds`.
    pub fn new(bounds: Rect) -> Self {
        Self { bounds, taken: Vec::new() }
    }

    /// Marks room as taken.
    pub fn take(&mut self, rect: Rect) {
        self.taken.push(rect);
    }

    /// Whether nothing is there yet, within the bounds.
    pub fn is_free(&self, rect: &Rect) -> bool {
        let inside = (self.bounds.overlap(rect) - rect.width() * rect.height()).abs() < 1e-6;
        inside && self.taken.iter().all(|t| t.overlap(rect) <= 0.0)
    }

    /// Room of `width` × `height` beside `point`, `distance` away: where it covers least, in a fixed order of trial. None
    /// where it would cover more than a hundred-and-twentieth of itself.
    pub fn place(&mut self, point: (f64, f64), width: f64, height: f64, distance: f64) -> Option<Rect> {
        let (x, y) = point;
        let (d, half_width, half_height) = (distance, width / 2.0, height / 2.0);
        let near = [
            (d + half_width, 0.0),
            (-d - half_width, 0.0),
            (0.0, -d - half_height),
            (0.0, d + half_height),
            (d + half_width, -height),
            (d + half_width, height),
            (-d - half_width, -height),
            (-d - half_width, height),
            (half_width, -d - half_height),
            (half_width, d + half_height),
            (-half_width, -d - half_height),
            (-half_width, d + half_height),
        ];
        let far = near.map(|(dx, dy)| (dx, dy + if dy < 0.0 { -height } else { height }));
        let centres = near.into_iter().chain(far).map(|(dx, dy)| (x + dx, y + dy));
        let boxes = centres.map(|(cx, cy)| Rect {
            x0: cx - half_width,
            y0: cy - half_height,
            x1: cx + half_width,
            y1: cy + half_height,
        });
        let cost = |rect: &Rect| {
            let covered: f64 = self.taken.iter().map(|t| t.overlap(rect)).sum();
            covered + (width * height - self.bounds.overlap(rect)) * 4.0
        };
        let (best, cost) = boxes.map(|b| (b, cost(&b))).min_by(|a, b| a.1.total_cmp(&b.1))?;
        (cost <= width * height / 120.0).then(|| {
            self.taken.push(best);
            best
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_order_and_their_distance() {
        let places = spread(&[100.0, 101.0, 50.0, 102.0, 400.0], 20.0, 0.0, 410.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= 20.0 - 1e-9), "{places:?}");
        assert!(places[0] < places[1] && places[1] < places[3], "{places:?}");
        assert_eq!((places[2], places[4]), (50.0, 400.0));
        assert!(spread(&[5.0; 30], 20.0, 0.0, 100.0).iter().all(|p| (-1e-9..=100.0 + 1e-9).contains(p)));
    }

    #[test]
    fn a_box_avoids_what_is_taken() {
        let mut placer = Placer::new(Rect { x0: 0.0, y0: 0.0, x1: 300.0, y1: 300.0 });
        let first = placer.place((100.0, 100.0), 60.0, 20.0, 8.0).unwrap();
        let second = placer.place((100.0, 100.0), 60.0, 20.0, 8.0).unwrap();
        assert!(first.overlap(&second) < 1e-9);
    }
}
