//! Points in time, passed in by the caller.
//!
//! Nothing in this crate reads a clock. A [`Timestamp`] counts from the Unix epoch because Knative cuts its one-second
//! buckets and its two-second delay slots at Unix seconds.
//!
//! Bias: if the clock steps back, the elapsed time is zero and never underflows, so a decision may be late, but is
//! never early.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time: the time since the Unix epoch. It is never before the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The Unix epoch itself.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// Creates the point in time `since_epoch` after the Unix epoch.
    pub const fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// Creates the point in time at the start of the Unix second `seconds`.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the time since the Unix epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the Unix second that contains this point in time.
    ///
    /// The result is signed, because in simulated time the arithmetic of a window can reach times before the epoch.
    pub fn second(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// Returns the time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Returns the point in time `later` after this one; the largest possible time if the sum overflows.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// Returns the point in time `earlier` before this one; the epoch if the result would be before the epoch.
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
