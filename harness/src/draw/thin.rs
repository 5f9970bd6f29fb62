//! Thinning of a long series to what the pixels can show, spikes kept. Pure functions.

/// Points in pixels with rising x, reduced to at most four a pixel column: first, lowest, highest and last, in their order.
/// What was flat stays two points, and every spike keeps its height.
pub fn per_pixel(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() < 4 {
        return points;
    }
    let mut out = Vec::new();
    let mut column = Vec::new();
    for point in points {
        if column.first().is_some_and(|first: &(f64, f64)| first.0.floor().total_cmp(&point.0.floor()).is_ne()) {
            flush(&mut column, &mut out);
        }
        column.push(point);
    }
    flush(&mut column, &mut out);
    out
}

fn flush(column: &mut Vec<(f64, f64)>, out: &mut Vec<(f64, f64)>) {
    let last = column.len().saturating_sub(1);
    let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
    let low = (0..column.len()).min_by(by_height).unwrap_or(0);
    let high = (0..column.len()).max_by(by_height).unwrap_or(0);
    let mut kept = [0, low, high, last];
    kept.sort_unstable();
    let mut previous = None;
    for index in kept {
        if previous != Some(index)
            && let Some(point) = column.get(index)
        {
            out.push(*point);
        }
        previous = Some(index);
    }
    column.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_points_become_few_and_the_spike_survives() {
        let points: Vec<_> =
            (0..1_000_000).map(|i| (f64::from(i) / 1000.0, if i == 777_777 { 500.0 } else { 10.0 })).collect();
        let thin = per_pixel(points);
        assert!(thin.len() <= 4 * 1000, "{}", thin.len());
        assert!(thin.iter().any(|p| p.1 > 499.0));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        assert_eq!(thin.last(), Some(&(999.999, 10.0)));
    }
}
