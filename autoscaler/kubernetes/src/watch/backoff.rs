//! The waits between attempts of a watch to reach the API server.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::runtime::{utils::ResetTimerBackoff, watcher::ExponentialBackoff};

/// Wait before the next attempt after a first failure. Each further wait is twice as long.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait before the next attempt. The limit is low, because decisions depend on the last known facts during a
/// wait. kube's own `DefaultBackoff` waits up to 30 s.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// If no wait was needed for this time, the next wait is `SHORTEST_WAIT` again. A single successful answer does not
/// reset the waits, because an attempt may fail just after a successful answer.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Returns the waits, without end.
pub(super) fn waits() -> impl Iterator<Item = Duration> {
    let waits = ExponentialBuilder::default()
        .with_min_delay(SHORTEST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_factor(2.0)
        .without_max_times();
    ResetTimerBackoff::new(ExponentialBackoff::from(waits), WELL_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_it_went_well() {
        let mut waits = waits();
        let first: Vec<_> = waits
            .by_ref()
            .take(3)
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(first, [200, 400, 800]);
        assert_eq!(waits.by_ref().take(20).last(), Some(LONGEST_WAIT));
        tokio::time::advance(WELL_AFTER * 2).await;
        assert_eq!(waits.next(), Some(SHORTEST_WAIT));
    }
}
