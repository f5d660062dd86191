//! The run as the decision loop sees it: the scale target, and the observer of decisions.

use std::convert::Infallible;

use ebb_autoscaler::{Decided, Load, Observer, ScaleTarget};
use ebb_autoscaler_core::Facts;
use tokio::sync::watch;

use super::{
    event::{Decision, Event},
    page::Shown,
    report::Reporter,
    supervisor::{Status, Wanted},
};

/// The replicas of the run as the scale target; the supervisor starts and stops them.
#[derive(Debug)]
pub(crate) struct Replicas {
    want: watch::Sender<Wanted>,
    status: watch::Receiver<Status>,
}

impl Replicas {
    pub(crate) fn new(want: watch::Sender<Wanted>, status: watch::Receiver<Status>) -> Replicas {
        Replicas { want, status }
    }
}

impl ScaleTarget for Replicas {
    type Error = Infallible;

    async fn facts(&mut self) -> Result<Facts, Infallible> {
        let ready = self.status.borrow().ready;
        let asked = match *self.want.borrow() {
            Wanted::Replicas(replicas) => replicas,
            Wanted::End(_) | Wanted::Kill => 0,
        };
        Ok(Facts::local(
            u32::try_from(ready).unwrap_or(u32::MAX),
            asked,
        ))
    }

    async fn scale(&mut self, replicas: u32) -> Result<(), Infallible> {
        self.want.send_if_modified(|wanted| match wanted {
            Wanted::Replicas(old) => std::mem::replace(old, replicas) != replicas,
            // The run is ending.
            Wanted::End(_) | Wanted::Kill => false,
        });
        Ok(())
    }
}

/// Publishes the decisions to the output and the live page.
#[derive(Debug)]
pub(crate) struct Narrator {
    reporter: Reporter,
    page: Shown,
    status: watch::Receiver<Status>,
}

impl Narrator {
    pub(crate) fn new(
        reporter: Reporter,
        page: Shown,
        status: watch::Receiver<Status>,
    ) -> Narrator {
        Narrator {
            reporter,
            page,
            status,
        }
    }
}

impl Observer for Narrator {
    fn second(&mut self, concurrency: f64) {
        self.reporter.second(concurrency);
    }

    fn decided(&mut self, decided: &Decided<'_>) {
        let status = *self.status.borrow();
        self.page.decided(decided, status.ready);
        let Load {
            requests,
            in_flight,
            held,
            ..
        } = decided.load;
        self.reporter.tell(&Event::Decision(Decision {
            t: self.reporter.seconds(),
            replicas: status.alive,
            ready: status.ready,
            concurrency: decided.concurrency,
            in_flight,
            queued: held,
            stable: decided.averages().map(|averages| averages.stable),
            panic: decided.averages().map(|averages| averages.panic),
            desired: decided.desired(),
            panic_mode: decided.decision.panic_mode,
            requests,
            reason: decided.decision.reason.to_string(),
        }));
    }
}
