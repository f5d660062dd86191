//! The last sign of life of each watch, and the workloads that depend on the watch.
//!
//! An event, a bookmark, and an answer to a request of the watch count as signs of life; an open connection does not.
//! So an API server that accepts connections and never answers, and a frozen connection, differ from a quiet cluster: a
//! quiet watch starts again every 15 s, and the API server answers this request.
//!
//! Bias: when in doubt, facts count as stale. Failure mode: a watch that is refused (403) never gets a sign of life, so
//! workloads that depend on this watch are never scaled down. The log and the metric with the age of each watch name
//! the watch.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::boot::BootClock;

/// The facts of a watch are stale after this time without a sign of life. It is twice the life of a watch, so one late
/// restart of a watch changes nothing.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(30);

/// A watch task without progress for this time is stuck, and only a restart of the program helps. The task makes
/// progress at least at each request. The longest request may take 60 s; 120 s are twice this time.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// All watches of the process.
#[derive(Debug)]
pub(crate) struct Watches {
    clock: BootClock,
    all: Mutex<Vec<Arc<Watch>>>,
}

/// The workloads that are not scaled down while the facts of a watch are stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dependents {
    /// All workloads.
    All,
    /// The workloads of one kind.
    Kind {
        /// API group of the kind.
        group: Box<str>,
        /// Name of the kind.
        kind: Box<str>,
    },
    /// No workload.
    None,
}

/// One watch.
#[derive(Debug)]
pub(crate) struct Watch {
    clock: BootClock,
    /// Plural of the watched kind, e.g. `pods`; with the group for a custom kind.
    kind: Box<str>,
    dependents: Dependents,
    /// Time of the last event, bookmark or answer that the watch received, in milliseconds since boot.
    last_message: AtomicU64,
    /// Time of the last progress of the watch's task, in milliseconds since boot.
    last_progress: AtomicU64,
}

impl Watches {
    pub(crate) fn new(clock: BootClock) -> Self {
        Self {
            clock,
            all: Mutex::default(),
        }
    }

    /// Adds a watch that starts at this call. The age of the watch is zero at first.
    pub(crate) fn add(&self, kind: &str, dependents: Dependents) -> Arc<Watch> {
        let now = milliseconds(self.clock.now());
        let watch = Arc::new(Watch {
            clock: self.clock.clone(),
            kind: kind.into(),
            dependents,
            last_message: AtomicU64::new(now),
            last_progress: AtomicU64::new(now),
        });
        self.all().push(Arc::clone(&watch));
        watch
    }

    /// Returns the kind of each watch and the time since its last sign of life.
    pub(crate) fn ages(&self) -> Vec<(Box<str>, Duration)> {
        let now = milliseconds(self.clock.now());
        let all = self.all();
        let ages = all.iter().map(|watch| (watch.kind.clone(), watch.age(now)));
        ages.collect()
    }

    /// Calls `check` for each watch, with the watch and whether its facts are fresh.
    pub(crate) fn each(&self, mut check: impl FnMut(&Watch, bool)) {
        let now = milliseconds(self.clock.now());
        for watch in &*self.all() {
            check(watch, watch.age(now) <= STALE_AFTER);
        }
    }

    /// Returns a message that names a watch whose task is stuck and says what to do; `None` if no task is stuck.
    pub(crate) fn stuck(&self) -> Option<String> {
        let now = milliseconds(self.clock.now());
        let all = self.all();
        let since = |watch: &Watch| now.saturating_sub(watch.last_progress.load(Ordering::Relaxed));
        let stuck = all
            .iter()
            .find(|watch| since(watch) > milliseconds(STUCK_AFTER))?;
        Some(format!(
            "the watch of {} has made no progress for {} s; restart the program",
            stuck.kind,
            since(stuck) / 1000
        ))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Records a sign of life of the watch: an event, a bookmark or an answer of the API server.
    pub(super) fn record_message(&self) {
        let now = milliseconds(self.clock.now());
        self.last_message.store(now, Ordering::Relaxed);
        self.last_progress.store(now, Ordering::Relaxed);
    }

    /// Records that the task of the watch has made progress.
    pub(super) fn record_progress(&self) {
        self.last_progress
            .store(milliseconds(self.clock.now()), Ordering::Relaxed);
    }

    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn dependents(&self) -> &Dependents {
        &self.dependents
    }

    fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.last_message.load(Ordering::Relaxed)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn stale(watches: &Watches) -> Vec<String> {
        let mut stale = Vec::new();
        watches.each(|watch, fresh| {
            if !fresh {
                stale.push(watch.kind().to_owned());
            }
        });
        stale
    }

    #[tokio::test(start_paused = true)]
    async fn p5_a_watch_that_is_not_heard_of_grows_old_and_is_named() {
        let watches = Watches::new(BootClock::of_tokio());
        let pods = watches.add("pods", Dependents::All);
        let quiet = watches.add("deployments", Dependents::All);
        for _ in 0..4 {
            time::advance(Duration::from_secs(10)).await;
            pods.record_message();
            quiet.record_progress();
        }
        assert_eq!(stale(&watches), ["deployments"]);
        let ages = watches.ages();
        assert_eq!(ages[0].1, Duration::ZERO);
        assert_eq!(ages[1].1, Duration::from_secs(40));
        assert_eq!(watches.stuck(), None, "its task goes on");
        quiet.record_message();
        assert!(stale(&watches).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn p5_a_task_that_is_stuck_is_named() {
        let watches = Watches::new(BootClock::of_tokio());
        let pods = watches.add("pods", Dependents::All);
        watches.add("deployments", Dependents::All);
        time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        pods.record_progress();
        let stuck = watches.stuck().unwrap();
        assert!(
            stuck.contains("deployments") && stuck.contains("121 s"),
            "{stuck}"
        );
    }
}
