//! The load of the run: the requests that the kernel counts at the replicas, and the requests queued at the activator.
//!
//! All values are cumulative, so each reader has its own pace, and a missed reading loses nothing. The last values of a
//! replica are added to the sums before its counter is removed.
//!
//! Failure mode: if the counter of a replica cannot be read, the whole reading is an error; no data is not zero.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ebb_agent::{
    CounterError, Reading, Rules,
    counter::{Counter, PodId},
};
use ebb_autoscaler::{Load, LoadSource};
use ebb_proxy::Pool;
use tokio::time::Instant;
use tracing::warn;

/// Counts the requests at the replicas of one run.
pub(crate) struct Meter {
    pool: Pool,
    exclude_paths: Vec<String>,
    state: Mutex<State>,
}

struct State {
    counter: Counter,
    replicas: BTreeMap<u64, Metered>,
    sums: Sums,
}

/// A replica with a counter attached.
struct Metered {
    pod: PodId,
    /// The reading that the sums include.
    last: Reading,
}

/// Sums over all replicas, also those that are gone.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    /// Request-seconds in flight.
    integral: f64,
    /// Requests started.
    started: u64,
}

impl Meter {
    /// Loads the kernel programs. Requests to `exclude_paths` are excluded.
    pub(crate) fn load(pool: Pool, exclude_paths: Vec<String>) -> Result<Meter, CounterError> {
        let state = State {
            counter: Counter::load()?,
            replicas: BTreeMap::new(),
            sums: Sums::default(),
        };
        Ok(Meter {
            pool,
            exclude_paths,
            state: Mutex::new(state),
        })
    }

    /// Counts the requests of a replica on `port` until the returned value is dropped.
    pub(crate) fn add(
        self: &Arc<Meter>,
        replica: u64,
        cgroup: &Path,
        port: u16,
    ) -> Result<Attached, CounterError> {
        let rules = Rules {
            ports: vec![port],
            exclude_paths: self.exclude_paths.clone(),
        };
        let mut state = self.lock();
        let pod = state.counter.attach(cgroup, &rules)?;
        let last = state.counter.read(pod)?;
        state.replicas.insert(replica, Metered { pod, last });
        Ok(Attached {
            meter: Arc::clone(self),
            replica,
        })
    }

    fn read(&self) -> Result<Load, CounterError> {
        let mut state = self.lock();
        let at = Instant::now();
        let in_flight = state.update()?;
        let sums = state.sums;
        drop(state);
        let held = self.pool.held();
        Ok(Load {
            at,
            integral: sums.integral + held.integral.as_secs_f64(),
            requests: sums.started,
            in_flight,
            held: held.now,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two of its methods, whatever panicked meanwhile.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Updates the sums; returns the requests in flight.
    fn update(&mut self) -> Result<u64, CounterError> {
        let mut in_flight = 0;
        for metered in self.replicas.values_mut() {
            let reading = self.counter.read(metered.pod)?;
            in_flight += reading.in_flight;
            self.sums.add(&metered.last, &reading);
            metered.last = reading;
        }
        self.counter.flush_log();
        Ok(in_flight)
    }

    fn remove(&mut self, replica: u64) {
        let Some(metered) = self.replicas.remove(&replica) else {
            return;
        };
        match self.counter.read(metered.pod) {
            Ok(reading) => self.sums.add(&metered.last, &reading),
            Err(error) => warn!(replica, %error, "the last figures of a replica are lost"),
        }
        self.counter.detach(metered.pod);
    }
}

impl Sums {
    fn add(&mut self, earlier: &Reading, later: &Reading) {
        self.integral += later.integral_since(earlier);
        // Wraps back if a probe that was counted is subtracted again.
        let started = later.started.wrapping_sub(earlier.started);
        self.started = self.started.wrapping_add(started);
    }
}

/// A replica's counter. Dropping it adds the last values to the sums and detaches the counter.
pub(crate) struct Attached {
    meter: Arc<Meter>,
    replica: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.meter.lock().remove(self.replica);
    }
}

/// The meter as the load source of the decision loop.
#[derive(Debug)]
pub(crate) struct RunLoad(pub(crate) Arc<Meter>);

impl LoadSource for RunLoad {
    type Error = CounterError;

    async fn load(&mut self) -> Result<Load, CounterError> {
        self.0.read()
    }

    async fn woken(&mut self) {
        self.0.pool.wanted().await;
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}
