//! The end of the activator. Its order aborts no request: the activator leaves the request path, then closes its
//! listeners, then waits for the requests in flight.
//!
//! Failure mode: requests that last longer than the limits are aborted.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{listeners::Listeners, signals::Signals, status::Status};

/// The parts that end, in the order of the steps.
pub(crate) struct Ending {
    pub(crate) becoming_ready: JoinHandle<()>,
    pub(crate) status: Arc<Status>,
    /// Its value `true` makes the reports say that this activator leaves the request path.
    pub(crate) leave: watch::Sender<bool>,
    /// Time until no more requests are routed to this activator.
    pub(crate) leave_within: Duration,
    /// The tasks that open listeners: the watches of EndpointSlices and of records.
    pub(crate) watches: [JoinHandle<()>; 2],
    /// Its value `true` closes all listeners.
    pub(crate) close: watch::Sender<bool>,
    pub(crate) listeners: Listeners,
    /// Time for the requests in flight to end after the listeners are closed.
    pub(crate) drain_within: Duration,
}

impl Ending {
    /// Runs the steps of the end. A signal ends each of the two waits at once.
    pub(crate) async fn run(self, signals: &mut Signals) {
        info!(within = ?self.leave_within, "leaving the path");
        self.becoming_ready.abort();
        self.status.set_ready(false);
        self.leave.send_replace(true);
        tokio::select! {
            () = sleep(self.leave_within) => {}
            () = signals.next() => {}
        }
        info!("closing");
        // From here on, no listener is opened.
        for watch in &self.watches {
            watch.abort();
        }
        self.close.send_replace(true);
        let closed = tokio::select! {
            closed = timeout(self.drain_within, self.listeners.closed()) => closed.is_ok(),
            () = signals.next() => false,
        };
        if !closed {
            warn!(within = ?self.drain_within, "some requests have not ended in time and are aborted");
        }
    }
}
