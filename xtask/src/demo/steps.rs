//! Step lines: what was measured holds for a while, it does not glide to the next value.

use super::timeline::Timeline;

/// Which side of its time a value holds for.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    /// A mean: over the interval that ends then.
    Before,
    /// A state: from then on.
    After,
}

/// The corners of the step line through points in the order of time.
pub(super) fn steps(points: impl IntoIterator<Item = (f64, f64)>, holds: Holds) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for (t, y) in points {
        if let Some(&(last_t, last_y)) = corners.last() {
            corners.push(match holds {
                Holds::Before => (last_t, y),
                Holds::After => (t, last_y),
            });
        }
        corners.push((t, y));
    }
    corners
}

/// The concurrency, each mean over its interval.
pub(super) fn concurrency(timeline: &Timeline) -> Vec<(f64, f64)> {
    let means = timeline
        .decisions
        .iter()
        .map(|decision| (decision.t, decision.concurrency));
    steps([(0.0, 0.0)].into_iter().chain(means), Holds::Before)
}

/// The replicas that were ready, from zero until the end.
pub(super) fn ready(timeline: &Timeline) -> Vec<(f64, f64)> {
    let changes = timeline
        .ready()
        .iter()
        .map(|(t, number)| (*t, f64::from(*number)));
    let end = (timeline.end(), timeline.ready_at(timeline.end()).into());
    steps(
        [(0.0, 0.0)].into_iter().chain(changes).chain([end]),
        Holds::After,
    )
}

/// The replicas that were wanted.
pub(super) fn wanted(timeline: &Timeline) -> Vec<(f64, f64)> {
    let wanted = timeline
        .decisions
        .iter()
        .map(|decision| (decision.t, decision.desired.into()));
    steps([(0.0, 0.0)].into_iter().chain(wanted), Holds::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_holds_before_its_time_and_a_state_after_it() {
        let points = [(1.0, 1.0), (2.0, 3.0)];
        assert_eq!(
            steps(points, Holds::After),
            [(1.0, 1.0), (2.0, 1.0), (2.0, 3.0)]
        );
        assert_eq!(
            steps(points, Holds::Before),
            [(1.0, 1.0), (1.0, 3.0), (2.0, 3.0)]
        );
    }
}
