//! The engine, shared by the tasks around it.
//!
//! One lock guards the engine. A task holds the lock for microseconds, and never across an await. All actions that the
//! engine returns (`Effect`) are sent over one channel, in order. At each access, the engine is first informed which
//! watches are stale: after this process was suspended for a while, any task may be the first to run.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use ebb_autoscaler_core::Timestamp;
use ebb_engine::{Clock, Effect, Engine, Notice};
use ebb_metrics::tasks::Tasks;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    boot::BootClock,
    watch::age::{Dependents, STALE_AFTER, Watches},
};

/// The engine, its clock, and the channel for the actions that the engine returns.
#[derive(Debug)]
pub(super) struct Shared {
    engine: Mutex<EngineState>,
    clock: Clock,
    outbox: mpsc::UnboundedSender<Effect>,
    /// Wakes the decision loop if a decision is due earlier than expected.
    pub(super) decision_wake_up: Notify,
    /// Wakes the task that writes EndpointSlices.
    pub(super) paths: Notify,
    /// All watches, with the time of the last sign of life of each.
    pub(super) watches: Watches,
    /// The long-lived tasks of the program.
    pub(super) tasks: Tasks,
    beat: AtomicU64,
}

/// The engine, and the watches that were last reported to the engine as stale.
#[derive(Debug)]
struct EngineState {
    engine: Engine,
    stale: BTreeSet<Box<str>>,
}

impl Shared {
    pub(super) fn new(engine: Engine, outbox: mpsc::UnboundedSender<Effect>) -> Self {
        Self {
            engine: Mutex::new(EngineState {
                engine,
                stale: BTreeSet::new(),
            }),
            clock: Clock::new(SystemTime::now(), Instant::now().into_std()),
            outbox,
            decision_wake_up: Notify::new(),
            paths: Notify::new(),
            watches: Watches::new(BootClock::new()),
            tasks: Tasks::new(),
            beat: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.at(Instant::now())
    }

    /// Calls `act` with the engine and the time, then sends the actions that the engine returned to the task that
    /// carries them out.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Engine, Timestamp) -> T) -> T {
        // A poisoned lock is used: the engine is consistent between any two of its methods, so a panic in another task
        // cannot leave it inconsistent.
        let mut told = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        told.freshness(&self.watches);
        let engine = &mut told.engine;
        // The clock is read after the lock is taken, so for the engine the time never goes backwards.
        let now = self.now();
        let result = act(engine, now);
        if engine.paths_changed() {
            self.paths.notify_one();
        }
        for effect in engine.effects() {
            // An error is ignored, because the receiver is gone only at shutdown.
            let _ = self.outbox.send(effect);
        }
        result
    }

    /// Publishes an Event about an object, if this replica leads.
    pub(super) fn say(&self, notice: Notice) {
        // An error is ignored, because the receiver is gone only at shutdown.
        let _ = self.outbox.send(Effect::Say(notice));
    }

    /// Records that the decision loop has run a round.
    pub(super) fn beat(&self) {
        let seconds = self.now().since_epoch().as_secs();
        self.beat.store(seconds, Ordering::Relaxed);
    }

    /// Returns the seconds since the last round of the decision loop.
    pub(super) fn since_beat(&self) -> u64 {
        let now = self.now().since_epoch().as_secs();
        now.saturating_sub(self.beat.load(Ordering::Relaxed))
    }
}

impl EngineState {
    /// Informs the engine which facts are stale, if a watch has become stale or fresh.
    fn freshness(&mut self, watches: &Watches) {
        let mut changed = false;
        watches.each(|watch, fresh| {
            if *watch.dependents() == Dependents::None || fresh != self.stale.contains(watch.kind())
            {
                return;
            }
            changed = true;
            match fresh {
                true => self.stale.remove(watch.kind()),
                false => self.stale.insert(watch.kind().into()),
            };
            if let Dependents::Kind { group, kind } = watch.dependents() {
                let stale = (!fresh).then(|| why(watch.kind()));
                self.engine.kind_facts_are(group, kind, stale);
            }
        });
        if !changed {
            return;
        }
        let mut stale = None;
        watches.each(|watch, fresh| {
            if !fresh && *watch.dependents() == Dependents::All && stale.is_none() {
                stale = Some(why(watch.kind()));
            }
        });
        self.engine.facts_are(stale);
    }
}

fn why(kind: &str) -> String {
    format!("no message from the API server about {kind} for more than {STALE_AFTER:?}")
}
