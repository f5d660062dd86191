//! Memory that a burst took, given back to the system when it is over.
//!
//! Else something small that lives on is enough to keep 200 MB of what ten thousand requests had: see
//! [`ebb_metrics::memory::give_back`].

use std::time::Duration;

use tokio::time::sleep;

/// A burst: fewer connections than that are not worth the milliseconds of a look at the whole heap.
const BURST: usize = 1000;

/// The last connections of the burst, and those to backends that are spare now, are gone by then.
const SETTLED: Duration = Duration::from_secs(3);

/// Watches the number of connections there are.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    peak: usize,
}

impl Memory {
    /// There are so many connections now.
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
