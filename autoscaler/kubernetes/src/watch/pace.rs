//! The waits between attempts of a watch to reach the API server.

use std::time::Duration;

use tokio::time::Instant;

/// Wait before the next attempt after a first failure. Each further wait is twice as long.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait before the next attempt. The limit is low, because decisions depend on the last known facts during a
/// wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// If no wait was needed for this time, the next wait is `SHORTEST_WAIT` again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Computes the waits between attempts. Each wait is twice as long as the last, up to `LONGEST_WAIT`, until the watch
/// has needed no wait for `WELL_AFTER`. A single successful answer does not reset the wait, because an attempt may fail
/// just after a successful answer.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    wait: Duration,
    last: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            wait: SHORTEST_WAIT,
            last: Instant::now(),
        }
    }
}

impl Pace {
    /// Returns the wait before the next attempt.
    pub(super) fn next_wait(&mut self) -> Duration {
        if self.last.elapsed() > WELL_AFTER {
            self.wait = SHORTEST_WAIT;
        }
        self.last = Instant::now();
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_it_went_well() {
        let mut pace = Pace::default();
        let mut waits = || pace.next_wait().as_millis();
        assert_eq!([waits(), waits(), waits()], [200, 400, 800]);
        tokio::time::advance(WELL_AFTER * 2).await;
        assert_eq!(waits(), 200);
    }
}
