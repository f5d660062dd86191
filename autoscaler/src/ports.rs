//! The interfaces between the decision loop and the outside.

use std::{error::Error, time::Duration};

use ebb_autoscaler_core::{Averages, Decision, Facts};
use tokio::time::Instant;

/// The load of one workload up to one moment. All fields but `in_flight` and `held` are cumulative. So a missed reading
/// loses nothing, and the mean over any period is a difference of two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// When it was read.
    pub at: Instant,
    /// ∫ (requests in flight + queued requests) dt, in request-seconds; only differences have a meaning.
    pub integral: f64,
    /// Number of requests that have begun.
    pub requests: u64,
    /// Requests in flight at this moment.
    pub in_flight: u64,
    /// Requests queued for a replica at this moment.
    pub held: u64,
}

impl Load {
    /// Returns the mean concurrency from `earlier` to this reading; 0 if no time has passed.
    #[must_use]
    pub fn concurrency_since(&self, earlier: &Load) -> f64 {
        let seconds = self.since(earlier).as_secs_f64();
        // A withdrawn probe request can reduce the integral a little.
        let requests = (self.integral - earlier.integral).max(0.0);
        if seconds > 0.0 {
            requests / seconds
        } else {
            0.0
        }
    }

    /// Returns the number of requests that began from `earlier` to this reading.
    #[must_use]
    pub fn requests_since(&self, earlier: &Load) -> u64 {
        self.requests.saturating_sub(earlier.requests)
    }

    fn since(&self, earlier: &Load) -> Duration {
        self.at.saturating_duration_since(earlier.at)
    }

    /// Returns whether there were no requests at all since `earlier`.
    pub(crate) fn is_idle_since(&self, earlier: &Load) -> bool {
        self.in_flight == 0
            && self.held == 0
            && self.requests == earlier.requests
            && self.integral <= earlier.integral
    }
}

/// Source of the load of a workload.
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

/// The workload that is scaled.
pub trait ScaleTarget {
    /// Why its state cannot be read or changed.
    type Error: Error;

    /// Reads the state of the workload.
    fn facts(&mut self) -> impl Future<Output = Result<Facts, Self::Error>> + Send;

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
    /// The load at the decision.
    pub load: Load,
    /// Mean concurrency since the last decision.
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
