//! Waits between tries of a watch.

use std::time::Duration;

use tokio::time::Instant;

/// First wait before a watch is tried again.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait before a watch is tried again. Short, because decisions stand still on what was last known.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longer without a wait than this, and it went well.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Waits between tries: twice as long each time, until it went well for a while. A try that fails at once was well for
/// a moment too, so one good answer is not enough.
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
    /// How long to wait before the next try.
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
