//! Points in time, as the caller tells them.
//!
//! Nothing in this crate reads a clock. A [`Timestamp`] counts from the Unix epoch because
//! Knative's one-second buckets and two-second delay slots are cut at Unix seconds. Bias: a clock
//! that steps back yields an elapsed time of zero, never an underflow, so a decision waits rather
//! than jumps ahead.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time: the time since the Unix epoch. Never before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The Unix epoch itself.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The point `since_epoch` after the Unix epoch.
    pub const fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// The start of Unix second `seconds`.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The time since the Unix epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// The Unix second this point lies in.
    ///
    /// Signed, because ring arithmetic looks back past the epoch in simulated time.
    pub fn second(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// The point `later` after this one; the end of time where that overflows.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// The point `earlier` before this one; the epoch where that is before it.
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let t = Timestamp::from_secs(5);
        assert_eq!(t - Duration::from_secs(9), Timestamp::EPOCH);
        assert_eq!(t.since(Timestamp::from_secs(7)), Duration::ZERO);
        assert_eq!((t + Duration::MAX).since_epoch(), Duration::MAX);
        assert_eq!((t + Duration::MAX).second(), i64::MAX);
    }
}
