//! Stops the activator in an order that aborts no request: first the activator leaves the request path, then it closes
//! its listeners, then it waits for the requests in flight.
//!
//! Failure mode: requests that last longer than [`Ending::drain_within`] after the close of the listeners are aborted.

use std::{sync::Arc, time::Duration};

use ebb_metrics::signals::Signals;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{listeners::Listeners, status::Status};

/// The tasks, channels and time limits that [`Ending::run`] needs, in the order of their use.
pub(crate) struct Ending {
    pub(crate) becoming_ready: JoinHandle<()>,
    pub(crate) status: Arc<Status>,
    /// The value `true` of this channel makes the reports say that this activator leaves the request path.
    pub(crate) leave: watch::Sender<bool>,
    /// Time that the autoscaler and the kube-proxy of every node need until they route no more requests to this
    /// activator.
    pub(crate) leave_within: Duration,
    /// The tasks that open listeners: the watch of EndpointSlices and the watch of the record of ports.
    pub(crate) watches: [JoinHandle<()>; 2],
    /// The value `true` of this channel closes all listeners.
    pub(crate) close: watch::Sender<bool>,
    pub(crate) listeners: Listeners,
    /// Time for the requests in flight to end after the listeners are closed.
    pub(crate) drain_within: Duration,
}

impl Ending {
    /// Stops the activator. During the wait of `leave_within` and the wait of `drain_within`, a SIGTERM or SIGINT ends
    /// the wait immediately.
    pub(crate) async fn run(self, signals: &mut Signals) {
        info!(within = ?self.leave_within, "leaving the path");
        self.becoming_ready.abort();
        self.status.set_ready(false);
        self.leave.send_replace(true);
        tokio::select! {
            () = sleep(self.leave_within) => {}
            _ = signals.next() => {}
        }
        info!("closing");
        // The watches are aborted first, because only they open listeners. So no listener is opened after all listeners
        // are closed.
        for watch in &self.watches {
            watch.abort();
        }
        self.close.send_replace(true);
        let closed = tokio::select! {
            closed = timeout(self.drain_within, self.listeners.closed()) => closed.is_ok(),
            _ = signals.next() => false,
        };
        if !closed {
            warn!(within = ?self.drain_within, "some requests have not ended in time and are aborted");
        }
    }
}
