//! When a new activator is ready.
//!
//! Bias: towards waiting, because its readiness ends an activator of the previous release. Failure mode: without a
//! record of ports the activator is ready after [`RECORDED_WITHIN`], and listens on no port of a Service.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::info;

use crate::{listeners::Listeners, status::Status};

/// How long a new activator waits for a record of ports before it is ready. If slices route to activators and no port is
/// recorded, the autoscaler has this time to become leader and to write the record. Its Lease lasts 15 s, and a
/// Deployment replaces two replicas in about 30 s.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// How often to check for the record.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Makes the activator ready when all slices and all records have been listed and no record is missing, and ends.
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
