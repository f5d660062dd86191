//! One `ebb watch` for many tests, which run one after the other on one thread. Loading the kernel programs takes
//! longer than most of these tests.
//!
//! Which way it errs: towards a new watch. A watch is reused only if the previous test passed and left no request and
//! no connection.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ebb_fixtures::watch::Watch;
use ebb_fixtures::{TestCgroup, eventually};

thread_local! {
    /// The `ebb watch` processes that earlier tests of this thread have left for reuse, one for each interval. They end
    /// with the thread. (The kernel would kill them anyway when the thread ends, because they are its children.)
    static IDLE: RefCell<Vec<Shared>> = const { RefCell::new(Vec::new()) };
}

/// The number of `ebb watch` processes that the threads of the test run have started and that have not ended.
static ALIVE: AtomicU32 = AtomicU32::new(0);

/// A cgroup and the `ebb watch` on it. The watch is dropped first.
pub(super) struct Shared {
    pub(super) watch: Watch,
    pub(super) cgroup: TestCgroup,
    interval: &'static str,
    _counted: CountedGuard,
}

/// Decrements [`ALIVE`] when it is dropped. It is the last field of [`Shared`], so it is dropped after the watch.
struct CountedGuard;

impl Drop for CountedGuard {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until the threads of the test run have ended their watches. The wait is needed because a thread is reported as
/// ended before its thread-local values are dropped.
pub(super) fn end() {
    drop(IDLE.take());
    eventually("all watches ended", Duration::from_secs(20), || {
        (ALIVE.load(Ordering::Relaxed) == 0).then_some(())
    });
}

impl Shared {
    /// Takes the `ebb watch` with this interval that an earlier test of this thread has left for reuse, or starts a new
    /// one.
    pub(super) fn take(interval: &'static str) -> Self {
        let idle = IDLE.with_borrow_mut(|idle| {
            let found = idle.iter().position(|shared| shared.interval == interval);
            found.map(|index| idle.swap_remove(index))
        });
        idle.unwrap_or_else(|| {
            let cgroup = TestCgroup::new();
            let watch = Watch::start(&cgroup, interval, &[]);
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Self {
                watch,
                cgroup,
                interval,
                _counted: CountedGuard,
            }
        })
    }

    /// Leaves the `ebb watch` for reuse by the next test of this thread. First waits until all connections of this test
    /// are closed.
    #[track_caller]
    pub(super) fn give_back(mut self) {
        self.watch
            .until("all connections closed", |_, line| line.connections == 0);
        IDLE.with_borrow_mut(|idle| idle.push(self));
    }
}
