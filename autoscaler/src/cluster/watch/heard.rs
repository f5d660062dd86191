//! When each watch was last heard of, and which facts rest on it.
//!
//! An event, a bookmark or an answer to a request of the watch counts as heard; that it is still open does not. So an API
//! server that accepts and never answers, and a connection that froze, look different from a cluster in which nothing
//! happens: a quiet watch is begun anew every 15 s, and the answer to that is heard.
//!
//! Bias: facts are stale rather than wrong. Failure mode: a watch that is refused (403) is never heard of, so what rests on
//! it is never scaled down; the log and the age say which one it is.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::cluster::boot::BootClock;

/// Facts are stale if their watch was not heard of for this long: twice the life of a watch, so one watch that is begun anew
/// late changes nothing.
pub(in crate::cluster) const STALE_AFTER: Duration = Duration::from_secs(30);

/// The task of a watch comes round at least with every request it makes, and the longest may take 60 s. Twice that, and the
/// task is stuck: then a restart helps.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// All watches of the process.
#[derive(Debug)]
pub(in crate::cluster) struct Watches {
    clock: BootClock,
    all: Mutex<Vec<Arc<Watch>>>,
}

/// What rests on a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum RestsOnIt {
    /// Every decision.
    Everything,
    /// Decisions about the objects of one kind.
    Kind {
        /// API group.
        group: Box<str>,
        /// Kind.
        kind: Box<str>,
    },
    /// No decision to have fewer pods.
    Nothing,
}

/// One watch.
#[derive(Debug)]
pub(in crate::cluster) struct Watch {
    clock: BootClock,
    /// Plural of what is watched, e.g. `pods`; with its group where that is not Kubernetes' own.
    kind: Box<str>,
    rests: RestsOnIt,
    /// When it was last heard of, milliseconds since boot.
    heard: AtomicU64,
    /// When its task last came round, milliseconds since boot.
    round: AtomicU64,
}

impl Watches {
    pub(in crate::cluster) fn new(clock: BootClock) -> Self {
        Self {
            clock,
            all: Mutex::default(),
        }
    }

    /// A watch that begins. Its age counts from now.
    pub(in crate::cluster) fn add(&self, kind: &str, rests: RestsOnIt) -> Arc<Watch> {
        let now = milliseconds(self.clock.now());
        let watch = Arc::new(Watch {
            clock: self.clock.clone(),
            kind: kind.into(),
            rests,
            heard: AtomicU64::new(now),
            round: AtomicU64::new(now),
        });
        self.all().push(Arc::clone(&watch));
        watch
    }

    /// Kind of each watch, and how long ago it was last heard of.
    pub(in crate::cluster) fn ages(&self) -> Vec<(Box<str>, Duration)> {
        let now = milliseconds(self.clock.now());
        let all = self.all();
        let ages = all.iter().map(|watch| (watch.kind.clone(), watch.age(now)));
        ages.collect()
    }

    /// Gives `tell` each watch, and whether it was heard of lately.
    pub(in crate::cluster) fn each(&self, mut tell: impl FnMut(&Watch, bool)) {
        let now = milliseconds(self.clock.now());
        for watch in &*self.all() {
            tell(watch, watch.age(now) <= STALE_AFTER);
        }
    }

    /// Names a watch whose task is stuck, and says what to do. `None` if no task is stuck.
    pub(in crate::cluster) fn stuck(&self) -> Option<String> {
        let now = milliseconds(self.clock.now());
        let all = self.all();
        let since = |watch: &Watch| now.saturating_sub(watch.round.load(Ordering::Relaxed));
        let stuck = all
            .iter()
            .find(|watch| since(watch) > milliseconds(STUCK_AFTER))?;
        Some(format!(
            "the task that watches {} has not come round for {} s, which only a restart can mend",
            stuck.kind,
            since(stuck) / 1000
        ))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// It was heard of.
    pub(super) fn heard(&self) {
        let now = milliseconds(self.clock.now());
        self.heard.store(now, Ordering::Relaxed);
        self.round.store(now, Ordering::Relaxed);
    }

    /// Its task has come round.
    pub(super) fn round(&self) {
        self.round
            .store(milliseconds(self.clock.now()), Ordering::Relaxed);
    }

    pub(in crate::cluster) fn kind(&self) -> &str {
        &self.kind
    }

    pub(in crate::cluster) fn rests(&self) -> &RestsOnIt {
        &self.rests
    }

    fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.heard.load(Ordering::Relaxed)))
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
        let pods = watches.add("pods", RestsOnIt::Everything);
        let quiet = watches.add("deployments", RestsOnIt::Everything);
        for _ in 0..4 {
            time::advance(Duration::from_secs(10)).await;
            pods.heard();
            quiet.round();
        }
        assert_eq!(stale(&watches), ["deployments"]);
        let ages = watches.ages();
        assert_eq!(ages[0].1, Duration::ZERO);
        assert_eq!(ages[1].1, Duration::from_secs(40));
        assert_eq!(watches.stuck(), None, "its task goes on");
        quiet.heard();
        assert!(stale(&watches).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn p5_a_task_that_is_stuck_is_named() {
        let watches = Watches::new(BootClock::of_tokio());
        let pods = watches.add("pods", RestsOnIt::Everything);
        watches.add("deployments", RestsOnIt::Everything);
        time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        pods.round();
        let stuck = watches.stuck().unwrap();
        assert!(
            stuck.contains("deployments") && stuck.contains("121 s"),
            "{stuck}"
        );
    }
}
