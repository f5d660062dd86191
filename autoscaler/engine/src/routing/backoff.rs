//! Backoff of writes that the API server refuses, or that another client reverts.
//!
//! Bias: the first retry is made after one second, because most failures are short. After that, the delay doubles up to
//! one minute, so that a lasting failure causes one request per minute.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// Delay of the retry after the first failed write.
const SHORTEST: Duration = Duration::from_secs(1);
/// Maximum delay of a retry if the API server has answered the write with an error.
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum delay of a retry if the API server has not answered the write. This maximum is shorter than after an error,
/// because once the API server is available again, all writes can succeed.
const LONGEST_UNANSWERED: Duration = Duration::from_secs(5);
/// Time without a failure after which the next failure counts as the first failure again.
const OVER_AFTER: Duration = Duration::from_secs(120);

/// Backoff state of one write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    wait: Duration,
    last: Option<Timestamp>,
}

impl Backoff {
    /// Records a failure at `now`. `answered`: whether the API server has answered.
    pub(super) fn failed(&mut self, now: Timestamp, answered: bool) {
        if self.last.is_none_or(|last| now.since(last) > OVER_AFTER) {
            self.wait = Duration::ZERO;
        }
        let longest = if answered {
            LONGEST
        } else {
            LONGEST_UNANSWERED
        };
        self.wait = (self.wait * 2).clamp(SHORTEST, longest);
        self.last = Some(now);
    }

    /// Returns the earliest time at which the write may be retried; `None`: the write may be retried now.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let again = self.last? + self.wait;
        (again > now).then_some(again)
    }

    /// Records a success.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// Returns whether the last attempt to write failed.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut now = Timestamp::from_secs(1_000);
        assert_eq!(backoff.until(now), None);
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed(now, true);
            let again = backoff.until(now).unwrap();
            waits.push(again.since(now).as_secs());
            now = again;
            assert_eq!(backoff.until(now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.over();
        backoff.failed(now, false);
        assert_eq!(backoff.until(now), Some(now + Duration::from_secs(1)));
    }
}
