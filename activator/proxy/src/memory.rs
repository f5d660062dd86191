//! Returns memory to the operating system after a burst of connections.
//!
//! Without this, one small long-lived allocation can keep the 200 MB that ten thousand requests used: see
//! [`ebb_metrics::memory::give_back`].

use std::time::Duration;

use tokio::time::sleep;

/// Number of connections that count as a burst. Returning memory takes milliseconds, because it walks the whole heap.
/// After fewer connections that is not worthwhile.
const BURST: usize = 1000;

/// Delay until the last connections of the burst, and the idle connections to backends, are closed.
const SETTLED: Duration = Duration::from_secs(3);

/// Follows the number of connections.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    peak: usize,
}

impl Memory {
    /// Records the current number of connections.
    pub(crate) fn note(&mut self, connections: usize) {
        self.peak = self.peak.max(connections);
        if self.peak >= BURST && connections <= self.peak / 8 {
            self.peak = connections;
            tokio::spawn(async {
                sleep(SETTLED).await;
                tokio::task::spawn_blocking(ebb_metrics::memory::give_back);
            });
        }
    }
}
