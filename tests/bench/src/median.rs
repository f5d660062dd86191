//! Medians and quartiles of several measurements. A single measurement that another program disturbed hardly changes a
//! median.

/// Returns the median; for an even number of values, the mean of the middle two. NaN if there are no values.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    at(&sorted(values), 0.5)
}

/// Returns the first and the third quartile, by linear interpolation. NaN if there are no values.
pub(super) fn quartiles(values: impl IntoIterator<Item = f64>) -> [f64; 2] {
    let values = sorted(values);
    [at(&values, 0.25), at(&values, 0.75)]
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns the value at the position `share` (0 to 1) of the sorted values, by linear interpolation.
fn at(values: &[f64], share: f64) -> f64 {
    let place = share * values.len().saturating_sub(1) as f64;
    let value = |index: f64| values.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(place.floor()), value(place.ceil()));
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_or_two() {
        assert_eq!(median([3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), 3.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn quartiles_lie_between() {
        assert_eq!(quartiles([5.0, 1.0, 2.0, 3.0, 4.0]), [2.0, 4.0]);
        assert_eq!(quartiles([1.0, 2.0]), [1.25, 1.75]);
        assert_eq!(quartiles([7.0]), [7.0, 7.0]);
    }
}
