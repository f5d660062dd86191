//! Returns memory to the system after a burst of connections.
//!
//! Without this, one small long-lived allocation can keep the 200 MB that ten thousand requests used: see
//! [`ebb_metrics::memory::give_back`].

use std::time::Duration;

use tokio::time::sleep;

/// Connections that count as a burst. Below that number, a walk over the whole heap is not worth its milliseconds.
const BURST: usize = 1000;

/// Delay until the last connections of the burst, and idle ones to backends, are closed.
const SETTLED: Duration = Duration::from_secs(3);

/// Watches the number of connections.
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
