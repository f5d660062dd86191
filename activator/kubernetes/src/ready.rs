//! Decides when a new activator is ready.
//!
//! Bias: towards waiting, because a Deployment terminates an activator of the previous release when a new one is ready.
//! Failure mode: without a record of ports, the activator is ready after [`RECORDED_WITHIN`] and listens on no Service
//! port.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::info;

use crate::{listeners::Listeners, status::Status};

/// How long a new activator waits for a record of ports if EndpointSlices route requests to activators and no port is
/// recorded. The autoscaler must become leader and write the record in this time. 60 s are enough: the autoscaler's
/// Lease lasts 15 s, and a Deployment replaces two replicas in about 30 s.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// How often a new activator checks whether a record of ports exists.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Waits until all EndpointSlices and all records of ports have been listed. If no record exists, waits up to
/// [`RECORDED_WITHIN`] for one. Then makes the activator ready.
pub(crate) async fn run(
    status: Arc<Status>,
    listeners: Listeners,
    mut slices_listed: watch::Receiver<bool>,
    mut records_listed: watch::Receiver<bool>,
) {
    if slices_listed.wait_for(|listed| *listed).await.is_ok()
        && records_listed.wait_for(|listed| *listed).await.is_ok()
    {
        let listed = Instant::now();
        while listeners.lacks_record() && listed.elapsed() < RECORDED_WITHIN {
            sleep(LOOK_AGAIN).await;
        }
        status.set_ready(true);
        info!("ready");
    }
}
