//! Backoff of writes that the API server refuses, or that somebody reverts.
//!
//! Bias: the first retry comes soon, because most failures are short. Then the delay doubles up to a minute, so that a
//! lasting failure costs the API server one request a minute.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// First delay.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest delay if there was no answer at all: an API server that was unavailable is back for all writes at once.
const LONGEST_UNANSWERED: Duration = Duration::from_secs(5);
/// After this long without a failure, the delay begins with the first one again.
const OVER_AFTER: Duration = Duration::from_secs(120);

/// The retries of one write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    wait: Duration,
    last: Option<Timestamp>,
}

impl Backoff {
    /// Records a failure at `now`.
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

    /// Returns when a retry may be made; `None`: at once.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let again = self.last? + self.wait;
        (again > now).then_some(again)
    }

    /// Records a success.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// Returns whether the last attempt failed.
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
