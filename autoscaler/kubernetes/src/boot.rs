//! The clock for leadership and for the age of watches. It measures the time since boot.
//!
//! `CLOCK_BOOTTIME` continues while this process is stopped (SIGSTOP, a frozen cgroup) and while the machine is
//! suspended. The monotonic clock, which Rust and tokio use, stands still during a suspend: after an hour of suspend, a
//! leader would assume that it still leads. Neither clock jumps when the wall clock is set. See
//! <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>.
//!
//! Failure mode: if the kernel does not return the time, the clock returns the largest possible time, and this replica
//! does not lead.

use std::{fmt, sync::Arc, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// A clock that never stands still, not even while the machine is suspended. Tests replace the function that reads it.
#[derive(Clone)]
pub(super) struct BootClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl BootClock {
    /// Creates a clock that reads the kernel's `CLOCK_BOOTTIME`.
    pub(super) fn new() -> Self {
        Self(Arc::new(|| {
            clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
        }))
    }

    /// Returns the time since the machine booted.
    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }

    /// Creates a clock that follows tokio's clock, which tests pause and advance.
    #[cfg(test)]
    pub(super) fn of_tokio() -> Self {
        let start = tokio::time::Instant::now();
        Self(Arc::new(move || Duration::from_secs(1) + start.elapsed()))
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BootClock").field(&self.now()).finish()
    }
}
