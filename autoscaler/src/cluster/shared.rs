//! The engine, shared by the tasks around it.
//!
//! One lock, held for microseconds and never across an await. What the engine wants done leaves through one channel,
//! in order.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ebb_autoscaler_core::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    Clock,
    engine::{Effect, Engine},
};

/// The engine and the time.
#[derive(Debug)]
pub(super) struct Shared {
    engine: Mutex<Engine>,
    clock: Clock,
    outbox: mpsc::UnboundedSender<Effect>,
    /// Something is due earlier than was thought.
    pub(super) sooner: Notify,
    /// Slices should be looked at.
    pub(super) paths: Notify,
    beat: AtomicU64,
}

impl Shared {
    pub(super) fn new(engine: Engine, clock: Clock, outbox: mpsc::UnboundedSender<Effect>) -> Self {
        Self {
            engine: Mutex::new(engine),
            clock,
            outbox,
            sooner: Notify::new(),
            paths: Notify::new(),
            beat: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.at(Instant::now())
    }

    /// Does something with the engine and passes on what it wants done.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Engine, Timestamp) -> T) -> T {
        // The engine is whole between any two of its methods, whatever panicked meanwhile.
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        // After the lock: time does not go back for the engine.
        let now = self.now();
        let result = act(&mut engine, now);
        if engine.paths_changed() {
            self.paths.notify_one();
        }
        for effect in engine.effects() {
            // Nobody there any more: the program is ending.
            let _ = self.outbox.send(effect);
        }
        result
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
