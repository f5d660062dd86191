//! Memory that a burst took, given back to the system when it is over.
//!
//! glibc gives memory back by itself only from the end of its heap, where something small that lives
//! on is enough to keep 200 MB of what ten thousand requests had. Other C libraries do better, or
//! have no such call, and are left alone.

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
                tokio::task::spawn_blocking(give_back);
            });
        }
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    let given = unsafe { libc::malloc_trim(0) };
    tracing::debug!(given = given == 1, "memory of a burst given back");
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}
