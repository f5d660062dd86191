//! What the decision loop needs of the world.

use std::{error::Error, time::Duration};

use ebb_autoscaler_core::{Averages, Decision, Facts};
use tokio::time::Instant;

/// The load of one workload up to one moment. All but `in_flight` and `held` is cumulative, so a reading that is
/// missed loses nothing, and the mean over any time is a difference of two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// When it was read.
    pub at: Instant,
    /// ∫ (requests in flight + requests held) dt, in request-seconds; its origin means nothing.
    pub integral: f64,
    /// Requests that began.
    pub requests: u64,
    /// Requests in flight at this moment.
    pub in_flight: u64,
    /// Requests that wait for a replica at this moment.
    pub held: u64,
}

impl Load {
    /// Mean concurrency from `earlier` to this reading; 0 when no time has passed.
    #[must_use]
    pub fn concurrency_since(&self, earlier: &Load) -> f64 {
        let seconds = self.since(earlier).as_secs_f64();
        // A probe that is taken out again can make the integral fall by a little.
        let requests = (self.integral - earlier.integral).max(0.0);
        if seconds > 0.0 {
            requests / seconds
        } else {
            0.0
        }
    }

    /// Requests that began from `earlier` to this reading.
    #[must_use]
    pub fn requests_since(&self, earlier: &Load) -> u64 {
        self.requests.saturating_sub(earlier.requests)
    }

    fn since(&self, earlier: &Load) -> Duration {
        self.at.saturating_duration_since(earlier.at)
    }

    /// Whether there was nothing at all to serve since `earlier`.
    pub(crate) fn is_idle_since(&self, earlier: &Load) -> bool {
        self.in_flight == 0
            && self.held == 0
            && self.requests == earlier.requests
            && self.integral <= earlier.integral
    }
}

/// Where the load of a workload is read.
pub trait LoadSource {
    /// Why it cannot be read.
    type Error: Error;

    /// The load now.
    fn load(&mut self) -> impl Future<Output = Result<Load, Self::Error>> + Send;

    /// Resolves when a request has come that nothing is there to serve, so that nobody waits for the next reading.
    /// Dropping the future must not lose one.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What is scaled.
pub trait ScaleTarget {
    /// Why it cannot be looked at or changed.
    type Error: Error;

    /// How the workload stands.
    fn facts(&mut self) -> impl Future<Output = Result<Facts, Self::Error>> + Send;

    /// Have this many replicas. Asks for it and does not wait until it is so.
    fn scale(&mut self, replicas: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Who is told what happens.
pub trait Observer {
    /// The mean concurrency of one more second.
    fn second(&mut self, concurrency: f64);

    /// A decision.
    fn decided(&mut self, decided: &Decided<'_>);
}

/// A decision with what the loop saw.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The load it was made at.
    pub load: Load,
    /// Mean concurrency since the decision before.
    pub concurrency: f64,
}

impl Decided<'_> {
    /// What the windows said; `None` without data.
    #[must_use]
    pub fn averages(&self) -> Option<Averages> {
        self.decision.averages
    }

    /// Replicas wanted, bounds and the way to zero included.
    #[must_use]
    pub fn desired(&self) -> u32 {
        let decision = self.decision;
        decision.step.want.or(decision.desired).unwrap_or(0)
    }
}
