//! The time for decisions: the wall clock's when it starts, the monotonic clock's from then on.
//!
//! Bias: against jumps. Windows are cut at Unix seconds, but a wall clock that is set while they fill would tear
//! holes into them; so it is read once. Over months it may drift from the wall clock, which nothing here minds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ebb_autoscaler_core::Timestamp;

/// Turns instants into timestamps. Never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    epoch: Duration,
}

impl Clock {
    /// Creates a clock that shows the wall-clock time `wall` at the instant `start`. A time before 1970 counts as 1970.
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
