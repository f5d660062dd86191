//! Computes the points of a chart's lines: the corners of step functions, without the points that are not visible.
//!
//! Points are omitted because a day has 86 400 seconds, and a panel has about a thousand columns of pixels. A peak or a
//! trough is never omitted.

/// A point (x, y) in the units of the axes.
pub(super) type Point = (f64, f64);

/// Returns the corners of the step function through `values`, which are points (time, value). Each value holds until
/// the time of the next value; the last value holds until `end`.
pub(super) fn steps(values: impl IntoIterator<Item = Point>, end: f64) -> Vec<Point> {
    let mut corners: Vec<Point> = Vec::new();
    for (t, value) in values {
        match corners.last() {
            Some(&(_, before)) if before == value => continue,
            Some(&(_, before)) => corners.extend([(t, before), (t, value)]),
            None => corners.push((t, value)),
        }
    }
    if let Some(&(_, last)) = corners.last() {
        corners.push((end, last));
    }
    corners
}

/// Divides the range from 0 to `end` into `columns` equal parts, and keeps the lowest and the highest point of each
/// part. Keeps all points if there are at most two per column.
pub(super) fn thin(points: Vec<Point>, end: f64, columns: u32) -> Vec<Point> {
    if points.len() <= 2 * columns as usize {
        return points;
    }
    let column = |point: &Point| (point.0 / end * f64::from(columns)) as u32;
    points
        .chunk_by(|a, b| column(a) == column(b))
        .flat_map(extremes)
        .collect()
}

/// Returns the lowest and the highest of `points`, in the order of time.
fn extremes(points: &[Point]) -> impl Iterator<Item = Point> + use<> {
    let numbered = || points.iter().enumerate();
    let value = |(_, point): &(usize, &Point)| point.1;
    let least = numbered().min_by(|a, b| value(a).total_cmp(&value(b)));
    let most = numbered().max_by(|a, b| value(a).total_cmp(&value(b)));
    let mut kept: Vec<(usize, Point)> = [least, most]
        .into_iter()
        .flatten()
        .map(|(at, &point)| (at, point))
        .collect();
    kept.sort_by_key(|(at, _)| *at);
    kept.dedup();
    kept.into_iter().map(|(_, point)| point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staircase_has_two_corners_a_step() {
        let corners = steps([(0.0, 1.0), (1.0, 1.0), (2.0, 5.0)], 3.0);
        assert_eq!(corners, [(0.0, 1.0), (2.0, 1.0), (2.0, 5.0), (3.0, 5.0)]);
        assert!(steps([], 3.0).is_empty());
    }

    #[test]
    fn peaks_and_troughs_stay() {
        let mut points: Vec<Point> = (0..10_000).map(|t| (f64::from(t), 5.0)).collect();
        points[4_321].1 = 99.0;
        points[4_322].1 = 0.0;
        let thin = thin(points, 10_000.0, 100);
        assert!(thin.len() <= 200);
        let extremes: Vec<f64> = thin
            .iter()
            .map(|point| point.1)
            .filter(|y| *y != 5.0)
            .collect();
        assert_eq!(extremes, [99.0, 0.0]);
    }
}
