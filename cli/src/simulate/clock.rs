//! The time of a recording, as the decision code wants it.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// Where second 0 of a recording lies: far enough from the epoch that what came before it (the first second of a trace,
/// an hour of idleness) can be told, and a whole number of the two-second slots of scale-down-delay.
const ORIGIN: Timestamp = Timestamp::from_secs(1 << 40);

/// Second `t` of a recording, which has been checked to be a time.
pub(super) fn at(t: f64) -> Timestamp {
    ORIGIN + Duration::from_secs_f64(t)
}
