//! Points in time, passed in by the caller.
//!
//! Nothing in this crate reads a clock. A [`Timestamp`] counts from the Unix epoch because Knative cuts its one-second
//! buckets and its two-second delay slots at Unix seconds.
//!
//! Bias: if the clock steps back, the elapsed time is zero and never underflows, so a decision waits and does not come
//! too early.

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

    /// The Unix second that contains this point.
    ///
    /// It is signed, because in simulated time the ring arithmetic goes back to before the epoch.
    pub fn second(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// The point `later` after this one; the largest time if that overflows.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// The point `earlier` before this one; the epoch if the result would be before it.
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
