//! The interfaces between the loop of a run and the host: the source of the load, the replicas that are scaled, and the
//! observer.

use std::{error::Error, time::Duration};

use ebb_autoscaler_core::{Averages, Decision};

/// The counters and gauges of a run at one moment. The counters are cumulative, so a missed reading loses nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// The replicas that the kernel programs count. Each replica appears once.
    pub replicas: Vec<ReplicaLoad>,
    /// The requests that are queued until a replica can take them.
    pub queue: Queue,
}

/// The counters and gauges of one replica, as counted by the kernel programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaLoad {
    /// Number of the replica's counter. The number is never reused. If the start of a replica is repeated on another
    /// port, the new attempt gets a new number.
    pub number: u64,
    /// The phase of the replica, which says whether the replica accepts requests.
    pub phase: Phase,
    /// Time at which counting began, on the kernel's monotonic clock.
    pub since: Duration,
    /// Time at which the counters were read, on the kernel's monotonic clock.
    pub at: Duration,
    /// ∫ in flight dt from `since` to `at`, in request-nanoseconds; wraps at 2^64.
    pub integral: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Part of `in_flight`: connections whose bytes cannot be parsed.
    pub opaque: u64,
    /// Requests started since `since`.
    pub started: u64,
}

/// The phase in the life of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The replica is not ready yet.
    Starting,
    /// The replica takes requests.
    Ready,
    /// The replica gets no new requests, and answers the requests that it has.
    Leaving,
    /// The replica is gone. This reading is its last one.
    Gone,
}

/// The requests that are queued until a replica can take them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// Requests queued at this moment.
    pub now: u64,
    /// ∫ queued dt since the start of the run, in request-seconds.
    pub integral: Duration,
    /// Requests queued since the start of the run, also those that are no longer queued.
    pub total: u64,
}

/// Source of the load of a run: reads the counters of all replicas and of the queue.
pub trait LoadSource {
    /// The reason why the load cannot be read.
    type Error: Error;

    /// Reads the current load.
    fn load(&mut self) -> impl Future<Output = Result<Load, Self::Error>> + Send;

    /// Resolves when a request has arrived that no replica can serve. So the request does not have to wait for the next
    /// regular reading. If the future is dropped before it resolves, the next call must still report the request.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The replicas that are scaled.
pub trait ScaleTarget {
    /// The reason why the number of replicas cannot be changed.
    type Error: Error;

    /// Requests this number of replicas. Does not wait until the replicas exist.
    fn scale(&mut self, replicas: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Receiver of measurements and decisions.
pub trait Observer {
    /// Called with the mean concurrency of each second.
    fn second(&mut self, concurrency: f64);

    /// Called with each decision.
    fn decided(&mut self, decided: &ObservedDecision<'_>);
}

/// A decision, and the load that it is based on.
#[derive(Debug, Clone, Copy)]
pub struct ObservedDecision<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// Requests in flight at the decision.
    pub in_flight: u64,
    /// Requests queued at the decision.
    pub queued: u64,
    /// Requests that have started since the start of the run.
    pub requests: u64,
    /// Mean concurrency since the last decision, queued requests included.
    pub concurrency: f64,
}

impl ObservedDecision<'_> {
    /// Returns the averages of the windows; `None` without data.
    #[must_use]
    pub fn averages(&self) -> Option<Averages> {
        self.decision.averages
    }

    /// Returns the desired replicas, with bounds and scale to zero applied.
    #[must_use]
    pub fn desired(&self) -> u32 {
        let decision = self.decision;
        decision.step.want.or(decision.desired).unwrap_or(0)
    }
}
