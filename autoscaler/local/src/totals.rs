//! The sums of the counters over all replicas of a run, including the replicas that are gone.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::host::{Load, Phase};

/// A replica's counters at the last reading, which the sums already include.
#[derive(Debug, Clone, Copy, Default)]
struct ReplicaCounters {
    integral: u64,
    started: u64,
}

/// Adds up the counters of replicas that come and go.
#[derive(Debug, Default)]
pub(crate) struct CounterSums {
    counted: BTreeMap<u64, ReplicaCounters>,
    /// Integral of the requests in flight, in request-seconds.
    integral: f64,
    started: u64,
}

/// The sums of all replicas' counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) at: Instant,
    /// ∫ (requests in flight + queued requests) dt, in request-seconds. Only the difference of two values has a
    /// meaning.
    pub(crate) integral: f64,
    /// Requests started since the start of the run.
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    pub(crate) queued: u64,
}

impl CounterSums {
    /// Adds to the sums what the replicas' counters have changed since the last reading, and returns the sums. `at` is
    /// the time of this reading.
    pub(crate) fn add(&mut self, at: Instant, load: &Load) -> Totals {
        for replica in &load.replicas {
            let counted = self.counted.entry(replica.number).or_default();
            // The differences to the last reading can be negative, because the kernel programs first count a probe as a
            // request and subtract it when they have recognised it.
            let integral = replica.integral.wrapping_sub(counted.integral);
            let started = replica.started.wrapping_sub(counted.started);
            self.integral += integral.cast_signed() as f64 / 1e9;
            self.started = self.started.wrapping_add(started);
            *counted = ReplicaCounters {
                integral: replica.integral,
                started: replica.started,
            };
            if replica.phase == Phase::Gone {
                self.counted.remove(&replica.number);
            }
        }
        Totals {
            at,
            integral: self.integral + load.queue.integral.as_secs_f64(),
            requests: self.started,
            in_flight: load.replicas.iter().map(|it| it.in_flight).sum(),
            queued: load.queue.now,
        }
    }
}

impl Totals {
    /// Returns the sums at the start of the run, before any request was counted.
    pub(crate) fn zero(at: Instant) -> Self {
        Self {
            at,
            integral: 0.0,
            requests: 0,
            in_flight: 0,
            queued: 0,
        }
    }

    /// Returns the mean concurrency from `earlier` to these totals; 0 if no time has passed.
    pub(crate) fn concurrency_since(&self, earlier: &Self) -> f64 {
        let seconds = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        let requests = (self.integral - earlier.integral).max(0.0);
        if seconds > 0.0 {
            requests / seconds
        } else {
            0.0
        }
    }
}
