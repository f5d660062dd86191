//! The pause after failures before the next start, longer each time.

use std::time::Duration;

use tokio::time::{self, Instant};

/// Pause after the first failure; it doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause: a dependency that works again is noticed within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Determines when the next replica may start.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// The length of the last pause; zero before the first.
    last: Duration,
    /// No replica starts before this time.
    until: Option<Instant>,
}

impl Pause {
    /// Starts a pause after the failure of a replica that had `served` for this long; returns its length.
    ///
    /// Replicas that fail together count once. A replica that served for at least the longest pause resets the length.
    pub(crate) fn begin(&mut self, served: Duration) -> Duration {
        if self.until.is_none() {
            if served >= LONGEST {
                self.last = Duration::ZERO;
            }
            self.last = (self.last * 2).clamp(FIRST, LONGEST);
            self.until = Some(Instant::now() + self.last);
        }
        self.last
    }

    /// Whether no replica may start now.
    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Resolves at the end of the pause; never if there is none. Dropping the future changes nothing.
    pub(crate) async fn over(&mut self) {
        match self.until {
            Some(until) => time::sleep_until(until).await,
            None => std::future::pending().await,
        }
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_start_afresh() {
        let mut pause = Pause::default();
        let mut seconds = Vec::new();
        for served in [0, 0, 0, 29, 0, 0, 0, 30] {
            seconds.push(pause.begin(Duration::from_secs(served)).as_secs());
            assert!(pause.is_on());
            pause.over().await;
            assert!(!pause.is_on());
        }
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_fail_together_count_once() {
        let mut pause = Pause::default();
        assert_eq!(pause.begin(Duration::ZERO), pause.begin(Duration::ZERO));
    }
}
