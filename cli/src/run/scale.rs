//! The interfaces of the run to the autoscaler: the scale target, and the observer of decisions.

use std::convert::Infallible;

use ebb_autoscaler_local::{ObservedDecision, Observer, ScaleTarget};
use tokio::sync::watch;

use super::{
    event::{Decision, Event},
    report::Reporter,
    supervisor::{DesiredState, Status},
};

/// The scale target of the engine: passes the desired number of replicas to the supervisor, which starts and stops
/// them.
#[derive(Debug)]
pub(crate) struct Replicas {
    want: watch::Sender<DesiredState>,
}

impl Replicas {
    pub(crate) fn new(want: watch::Sender<DesiredState>) -> Replicas {
        Replicas { want }
    }
}

impl ScaleTarget for Replicas {
    type Error = Infallible;

    async fn scale(&mut self, replicas: u32) -> Result<(), Infallible> {
        self.want.send_if_modified(|desired| match desired {
            DesiredState::Replicas(old) => std::mem::replace(old, replicas) != replicas,
            // The run is ending, so the number of replicas is no longer changed.
            DesiredState::End(_) | DesiredState::Kill => false,
        });
        Ok(())
    }
}

/// Writes the decisions to the output of the run.
#[derive(Debug)]
pub(crate) struct Narrator {
    reporter: Reporter,
    status: watch::Receiver<Status>,
}

impl Narrator {
    pub(crate) fn new(reporter: Reporter, status: watch::Receiver<Status>) -> Narrator {
        Narrator { reporter, status }
    }
}

impl Observer for Narrator {
    fn second(&mut self, concurrency: f64) {
        self.reporter.second(concurrency);
    }

    fn decided(&mut self, decided: &ObservedDecision<'_>) {
        let (alive, ready) = {
            let status = self.status.borrow();
            (status.alive(), status.ready())
        };
        self.reporter.report(&Event::Decision(Decision {
            t: self.reporter.seconds(),
            replicas: alive,
            ready,
            concurrency: decided.concurrency,
            in_flight: decided.in_flight,
            queued: decided.queued,
            stable: decided.averages().map(|averages| averages.stable),
            panic: decided.averages().map(|averages| averages.panic),
            desired: decided.desired(),
            panic_mode: decided.decision.panic_mode,
            requests: decided.requests,
            reason: decided.decision.reason.to_string(),
        }));
    }
}
