//! One `ebb watch` for many tests, one after the other on one thread: to load its programs takes longer
//! than what most tests do with it.
//!
//! Biased towards a watch of one's own: it is only handed on by a test that passed and left no request
//! and no connection behind.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ebb_tests::harness::watch::Watch;
use ebb_tests::harness::{TestCgroup, eventually};

use super::INTERVAL;

thread_local! {
    /// Ends with the thread. (The kernel would end it then in any case: it is a child of the thread.)
    static IDLE: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// How many there are.
static ALIVE: AtomicU32 = AtomicU32::new(0);

/// A cgroup and the watch on it. The watch ends first.
pub(super) struct Shared {
    pub(super) watch: Watch,
    pub(super) cgroup: TestCgroup,
    _counted: Counted,
}

/// Dropped last.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until the threads of the test run have taken theirs down: a thread's own are dropped after
/// it is said to have ended.
pub(super) fn end() {
    drop(IDLE.take());
    eventually("all watches ended", Duration::from_secs(20), || {
        (ALIVE.load(Ordering::Relaxed) == 0).then_some(())
    });
}

impl Shared {
    /// The one of this thread, or a new one.
    pub(super) fn take() -> Self {
        IDLE.take().unwrap_or_else(|| {
            let cgroup = TestCgroup::new();
            let watch = Watch::start(&cgroup, INTERVAL, &[]);
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Self {
                watch,
                cgroup,
                _counted: Counted,
            }
        })
    }

    /// For the next test of this thread, when all connections of this one are closed.
    #[track_caller]
    pub(super) fn give_back(mut self) {
        self.watch
            .until("all connections closed", |_, line| line.connections == 0);
        IDLE.set(Some(self));
    }
}
