//! Converts the time of a row in the recorded traffic to a timestamp for the decision code.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// The timestamp of second 0 of a recording. It is late enough that earlier times (the start of the first second, an
/// hour of idleness before it) are positive too, and it is a multiple of 2 s, the length of the intervals in which the
/// autoscaler records the history for scale-down-delay.
const ORIGIN: Timestamp = Timestamp::from_secs(1 << 40);

/// Returns the timestamp of second `t` of a recording. `t` has been validated.
pub(super) fn at(t: f64) -> Timestamp {
    ORIGIN + Duration::from_secs_f64(t)
}
