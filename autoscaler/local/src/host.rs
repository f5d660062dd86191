//! The interfaces between the engine's loop and the host.

use std::{error::Error, time::Duration};

use ebb_autoscaler_core::{Averages, Decision};

/// The figures of a run at one moment. All but the gauges are cumulative. So a missed reading loses nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// The replicas with a counter, each once.
    pub replicas: Vec<ReplicaLoad>,
    /// The requests that wait for a replica.
    pub queue: Queue,
}

/// What the kernel has counted at one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaLoad {
    /// The number of its counter. It is never reused: a replica that is tried on another port gets a new counter.
    pub number: u64,
    /// Whether it can take requests.
    pub phase: Phase,
    /// When counting began, on the kernel's monotonic clock.
    pub since: Duration,
    /// When the figures were read, on the same clock.
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

/// Where a replica stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is not ready yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It gets no new requests, and answers those that it has.
    Leaving,
    /// It is gone. These are its last figures.
    Gone,
}

/// The requests that wait for a replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// Requests queued at this moment.
    pub now: u64,
    /// ∫ queued dt since the start of the run, in request-seconds.
    pub integral: Duration,
    /// Requests ever queued.
    pub total: u64,
}

/// Source of the load of a run.
pub trait LoadSource {
    /// Why it cannot be read.
    type Error: Error;

    /// Reads the current load.
    fn load(&mut self) -> impl Future<Output = Result<Load, Self::Error>> + Send;

    /// Resolves when a request has arrived that no replica can serve, so that it need not wait for the next reading.
    /// Dropping the future must not lose such a request.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The replicas that are scaled.
pub trait ScaleTarget {
    /// Why their number cannot be changed.
    type Error: Error;

    /// Requests this number of replicas, and does not wait until they exist.
    fn scale(&mut self, replicas: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Receiver of measurements and decisions.
pub trait Observer {
    /// Called with the mean concurrency of each second.
    fn second(&mut self, concurrency: f64);

    /// Called with each decision.
    fn decided(&mut self, decided: &Decided<'_>);
}

/// A decision with the load that it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// Requests in flight at the decision.
    pub in_flight: u64,
    /// Requests queued at the decision.
    pub queued: u64,
    /// Requests started since the start of the run.
    pub requests: u64,
    /// Mean concurrency since the last decision, queued requests included.
    pub concurrency: f64,
}

impl Decided<'_> {
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
