//! Measures the concurrency of the run: the requests that the kernel counts at the replicas, and the requests queued at
//! the activator.
//!
//! All values are cumulative, so a missed reading loses no requests. Before the counter of a replica is removed, the
//! last values of the replica are saved for the next reading.
//!
//! Failure mode: if the counter of a replica cannot be read, the whole reading is an error, because missing data does
//! not mean zero requests.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ebb_agent::{
    CounterError, Reading, Rules,
    counter::{Counter, PodId},
};
use ebb_autoscaler_local::{Load, LoadSource, Phase, Queue, ReplicaLoad};
use ebb_proxy::Pool;
use tokio::sync::watch;
use tracing::warn;

use super::supervisor::Status;

/// Counts the requests at the replicas of one run.
pub(crate) struct Meter {
    pool: Pool,
    exclude_paths: Vec<String>,
    state: Mutex<State>,
}

struct State {
    counter: Counter,
    /// The replicas with a counter, by the number of the counter.
    replicas: BTreeMap<u64, Metered>,
    /// The number of the most recently attached counter.
    last: u64,
    /// The last counter values of replicas that have ended. The next reading of the meter includes and removes them.
    gone: Vec<ReplicaLoad>,
}

/// A replica with a counter attached.
struct Metered {
    replica: u64,
    pod: PodId,
    since: Duration,
}

impl Meter {
    /// Loads the kernel programs. Requests to `exclude_paths` are not counted as concurrency.
    pub(crate) fn load(pool: Pool, exclude_paths: Vec<String>) -> Result<Meter, CounterError> {
        let state = State {
            counter: Counter::load()?,
            replicas: BTreeMap::new(),
            last: 0,
            gone: Vec::new(),
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
            only_inside: false,
            exclude_paths: self.exclude_paths.clone(),
        };
        let mut state = self.lock();
        let pod = state.counter.attach(cgroup, &rules)?;
        let since = state.counter.read(pod)?.at;
        state.last += 1;
        let number = state.last;
        let metered = Metered {
            replica,
            pod,
            since,
        };
        state.replicas.insert(number, metered);
        Ok(Attached {
            meter: Arc::clone(self),
            number,
        })
    }

    /// Reads the values of all replicas and of the queue. `phase` returns the phase of a replica, given its number.
    fn read(&self, phase: impl Fn(u64) -> Phase) -> Result<Load, CounterError> {
        let mut state = self.lock();
        let mut replicas = Vec::with_capacity(state.replicas.len());
        for (&number, metered) in &state.replicas {
            let reading = state.counter.read(metered.pod)?;
            let phase = phase(metered.replica);
            replicas.push(metered.load(number, phase, &reading));
        }
        replicas.append(&mut state.gone);
        state.counter.flush_log();
        drop(state);
        let queued = self.pool.queued();
        Ok(Load {
            replicas,
            queue: Queue {
                now: queued.now,
                integral: queued.integral,
                total: queued.total,
            },
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock may be used: every method leaves the state consistent, even if a thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, number: u64) {
        let Some(metered) = self.replicas.remove(&number) else {
            return;
        };
        match self.counter.read(metered.pod) {
            Ok(reading) => self.gone.push(metered.load(number, Phase::Gone, &reading)),
            Err(error) => {
                warn!(replica = metered.replica, %error, "the last counter values of a replica are lost");
            }
        }
        self.counter.detach(metered.pod);
    }
}

impl Metered {
    fn load(&self, number: u64, phase: Phase, reading: &Reading) -> ReplicaLoad {
        ReplicaLoad {
            number,
            phase,
            since: self.since,
            at: reading.at,
            integral: reading.integral,
            in_flight: reading.in_flight,
            opaque: reading.opaque,
            started: reading.started,
        }
    }
}

/// A replica's counter. Dropping it keeps the last values for the next reading and detaches the counter.
pub(crate) struct Attached {
    meter: Arc<Meter>,
    number: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.meter.lock().remove(self.number);
    }
}

/// The meter as the load source of the autoscaler.
#[derive(Debug)]
pub(crate) struct RunLoad {
    pub(crate) meter: Arc<Meter>,
    pub(crate) status: watch::Receiver<Status>,
}

impl LoadSource for RunLoad {
    type Error = CounterError;

    async fn load(&mut self) -> Result<Load, CounterError> {
        let status = self.status.borrow().clone();
        self.meter.read(|replica| status.phase(replica))
    }

    async fn woken(&mut self) {
        self.meter.pool.wake_up().await;
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}
