//! The time of a recording as a timestamp for the decision code.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// The timestamp of second 0 of a recording. It is far enough from the epoch for times before it (the first second of a
/// trace, an hour of idleness), and a whole multiple of the two-second slots of scale-down-delay.
const ORIGIN: Timestamp = Timestamp::from_secs(1 << 40);

/// Returns the timestamp of second `t` of a recording. `t` has been validated.
pub(super) fn at(t: f64) -> Timestamp {
    ORIGIN + Duration::from_secs_f64(t)
}
