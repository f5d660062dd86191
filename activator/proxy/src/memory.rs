//! Returns memory to the operating system after a burst of connections.
//!
//! Without this module, one small long-lived allocation can prevent the release of the 200 MB that ten thousand
//! requests used: see
//! [`ebb_metrics::memory::give_back`].

use std::time::Duration;

use tokio::time::sleep;

/// Number of connections that count as a burst. After fewer connections, memory is not returned, because there is
/// little to return and the call takes milliseconds: it walks the whole heap.
const BURST: usize = 1000;

/// Delay before memory is returned. In this time, the last connections of the burst and the idle connections to
/// backends are closed.
const SETTLED: Duration = Duration::from_secs(3);

/// Tracks the number of connections, to recognise the end of a burst.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    peak: usize,
}

impl Memory {
    /// Records the current number of connections. After a burst, it starts a task that returns memory.
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
