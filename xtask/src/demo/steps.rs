//! Computes step lines: a measured value holds for some time and does not change gradually to the next value.

use super::timeline::Timeline;

/// The interval in which the value of a point (time, value) holds.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    /// The interval from the previous point to this point, for example for a mean.
    Before,
    /// The interval from this point to the next point, for example for a state.
    After,
}

/// Returns the corners of the step line through `points`, tuples (time, value) in order of time.
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

/// Returns the step line of the concurrency. Each decision contains the mean since the previous decision.
pub(super) fn concurrency(timeline: &Timeline) -> Vec<(f64, f64)> {
    let means = timeline
        .decisions
        .iter()
        .map(|decision| (decision.t, decision.concurrency));
    steps([(0.0, 0.0)].into_iter().chain(means), Holds::Before)
}

/// Returns the step line of the ready replicas, from time 0 until the end.
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

/// Returns the step line of the desired replicas.
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
