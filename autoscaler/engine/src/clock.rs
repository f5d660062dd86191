//! The clock for decisions: it starts with the wall-clock time and advances with the monotonic clock.
//!
//! Bias: against jumps. Metric windows consist of Unix seconds, and setting the wall clock while a window fills would
//! leave gaps in the window. So the wall clock is read only once. Over months, this clock may drift from the wall
//! clock, which affects no decision.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ebb_autoscaler_core::Timestamp;

/// Converts instants to timestamps, which never decrease.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    epoch: Duration,
}

impl Clock {
    /// Creates a clock with the wall-clock time `wall` at the instant `start`. A `wall` before 1970 counts as 1970.
    #[must_use]
    pub fn new(wall: SystemTime, start: Instant) -> Self {
        let epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start, epoch }
    }

    /// Returns the timestamp of an instant. An instant before the start counts as the start.
    #[must_use]
    pub fn at(&self, instant: impl Into<Instant>) -> Timestamp {
        Timestamp::new(self.epoch + instant.into().saturating_duration_since(self.start))
    }
}
