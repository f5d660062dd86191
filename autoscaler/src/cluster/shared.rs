//! The engine, shared by the tasks around it.
//!
//! One lock, held for microseconds and never across an await. What the engine wants done leaves through one channel,
//! in order. Whenever somebody has the engine it is told first whether what it knows is fresh: after this process was
//! stopped for a while, the first to come round may be anybody.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ebb_autoscaler_core::Timestamp;
use ebb_metrics::tasks::Tasks;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    boot::BootClock,
    watch::heard::{RestsOnIt, STALE_AFTER, Watches},
};
use crate::{
    Clock,
    engine::{Effect, Engine, Notice},
};

/// The engine and the time.
#[derive(Debug)]
pub(super) struct Shared {
    engine: Mutex<Told>,
    clock: Clock,
    outbox: mpsc::UnboundedSender<Effect>,
    /// Something is due earlier than was thought.
    pub(super) sooner: Notify,
    /// Slices should be looked at.
    pub(super) paths: Notify,
    /// How old what the API server tells is.
    pub(super) watches: Watches,
    /// The long-lived tasks of the program.
    pub(super) tasks: Tasks,
    beat: AtomicU64,
}

/// The engine, and the watches that it was told are stale.
#[derive(Debug)]
struct Told {
    engine: Engine,
    stale: BTreeSet<Box<str>>,
}

impl Shared {
    pub(super) fn new(engine: Engine, clock: Clock, outbox: mpsc::UnboundedSender<Effect>) -> Self {
        Self {
            engine: Mutex::new(Told {
                engine,
                stale: BTreeSet::new(),
            }),
            clock,
            outbox,
            sooner: Notify::new(),
            paths: Notify::new(),
            watches: Watches::new(BootClock::new()),
            tasks: Tasks::new(),
            beat: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.at(Instant::now())
    }

    /// Does something with the engine and passes on what it wants done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Engine, Timestamp) -> T) -> T {
        // The engine is whole between any two of its methods, whatever panicked meanwhile.
        let mut told = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        told.freshness(&self.watches);
        let engine = &mut told.engine;
        // After the lock: time does not go back for the engine.
        let now = self.now();
        let result = act(engine, now);
        if engine.paths_changed() {
            self.paths.notify_one();
        }
        for effect in engine.effects() {
            // Nobody there any more: the program is ending.
            let _ = self.outbox.send(effect);
        }
        result
    }

    /// Tells the users of an object something, if this replica leads.
    pub(super) fn say(&self, notice: Notice) {
        // Nobody there any more: the program is ending.
        let _ = self.outbox.send(Effect::Say(notice));
    }

    /// The decision loop has come round.
    pub(super) fn beat(&self) {
        let seconds = self.now().since_epoch().as_secs();
        self.beat.store(seconds, Ordering::Relaxed);
    }

    /// Seconds since the decision loop last came round.
    pub(super) fn since_beat(&self) -> u64 {
        let now = self.now().since_epoch().as_secs();
        now.saturating_sub(self.beat.load(Ordering::Relaxed))
    }
}

impl Told {
    /// Tells the engine which of its facts are stale, where that has changed.
    fn freshness(&mut self, watches: &Watches) {
        let mut changed = false;
        watches.each(|watch, fresh| {
            if *watch.rests() == RestsOnIt::Nothing || fresh != self.stale.contains(watch.kind()) {
                return;
            }
            changed = true;
            match fresh {
                true => self.stale.remove(watch.kind()),
                false => self.stale.insert(watch.kind().into()),
            };
            if let RestsOnIt::Kind { group, kind } = watch.rests() {
                let stale = (!fresh).then(|| why(watch.kind()));
                self.engine.kind_facts_are(group, kind, stale);
            }
        });
        if !changed {
            return;
        }
        let mut stale = None;
        watches.each(|watch, fresh| {
            if !fresh && *watch.rests() == RestsOnIt::Everything && stale.is_none() {
                stale = Some(why(watch.kind()));
            }
        });
        self.engine.facts_are(stale);
    }
}

fn why(kind: &str) -> String {
    format!("the API server has told nothing of {kind} for more than {STALE_AFTER:?}")
}
