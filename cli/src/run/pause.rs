//! The pause between the failure of a replica and the next start. Each failure doubles the pause.

use std::time::Duration;

use tokio::time::{self, Instant};

/// Length of the first pause; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause. If replicas fail because a dependency is down, they are started again at most 30 s after the
/// dependency has recovered.
const LONGEST: Duration = Duration::from_secs(30);

/// Determines when the next replica may start.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// The length of the last pause; zero before the first.
    last: Duration,
    /// The end of the pause. No replica starts before this time.
    until: Option<Instant>,
}

impl Pause {
    /// Starts a pause after the failure of a replica, and returns the length of the pause. `served` is how long the
    /// replica was ready before it failed.
    ///
    /// A failure during a pause does not change the pause. If `served` is at least [`LONGEST`], the new pause is as
    /// short as the first one.
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

    /// Returns whether a pause is in force: then no replica may start.
    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Resolves at the end of the pause, or never if there is no pause. The future is cancel-safe.
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
