//! The time for decisions: the wall clock's when it starts, the monotonic clock's from then on.
//!
//! Bias: against jumps. Windows are cut at Unix seconds, but a wall clock that is set while they fill would tear
//! holes into them; so it is read once. Over months it may drift from the wall clock, which nothing here minds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_autoscaler_core::Timestamp;
use tokio::time::Instant;

/// Turns instants into timestamps. Never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    epoch: Duration,
}

impl Clock {
    /// A clock that agrees with the wall clock now.
    #[must_use]
    pub fn start() -> Clock {
        // A wall clock before 1970 is as good as 1970.
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock::starting_at(epoch)
    }

    /// A clock that shows `epoch`, the time since 1970, now.
    #[must_use]
    pub fn starting_at(epoch: Duration) -> Clock {
        Clock {
            start: Instant::now(),
            epoch,
        }
    }

    /// The timestamp of an instant; one before the start counts as the start.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        Timestamp::new(self.epoch + instant.saturating_duration_since(self.start))
    }
}
