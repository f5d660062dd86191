//! Creates the components of the activator, connects them, and runs their tasks.

use std::sync::Arc;

use ebb_contract::activator_report::PATH;
use ebb_metrics::{Hosts, files::OpenFiles, ports, probe, signals::Signals, status, tasks::Tasks};
use ebb_report_client::{Credentials, send};
use hyper::body::Bytes;
use kube::Client;
use tokio::sync::watch::channel;
use tracing::info;

use crate::{
    ending::Ending, failure::Failure, listeners::Listeners, metrics::Metrics, options::Options,
    ready, record, report, status::Status, watch,
};

/// The default port for probes.
const PROBE_PORT: u16 = 9477;

/// Runs the activator until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// The activator cannot start, or one of its tasks has ended.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(Failure::Signals)?;
    // Each request in flight needs two connections: from the client, and to the pod. If the limit cannot be raised, the
    // activator runs with its current limit.
    let _ = OpenFiles::raise();
    let client = Client::try_from(kube::Config::infer().await?)?;
    let status_port = ports::listen(options.status_address, "--status-address").await?;
    let probe_port = probe::listen(options.probe_address, PROBE_PORT).await?;

    let budget = options.budget();
    info!(bytes = budget.most(), "memory for clients");
    let (leave, leaving) = channel(false);
    let (close, closing) = channel(false);
    let limits = options.limits(&budget);
    let listeners = Listeners::new(limits, options.listen, options.pod_ip, closing);
    let metrics = Metrics::new(listeners.clone(), budget);
    let outcomes = metrics.sending();
    let status = Arc::new(Status::new(metrics));

    let hosts = Hosts::new(options.allowed_hosts);
    let serving = status::serve(status_port, Arc::clone(&status), hosts);
    let probing = probe::serve(probe_port, Arc::clone(&status));
    let (listed, slices) = channel(false);
    let watching = watch::run(client.clone(), listeners.clone(), listed);
    let (listed, records) = channel(false);
    let following = record::run(client, options.namespace, listeners.clone(), listed);
    let (report, reports) = channel(Bytes::new());
    let sender = report::Sender::new(options.pod_name, options.pod_ip);
    let writing = report::run(sender, listeners.clone(), leaving, report);
    let credentials = Arc::new(Credentials::new(options.token_file, options.autoscaler_ca));
    let sending = send(options.autoscaler, PATH, credentials, reports, outcomes);
    let becoming_ready = ready::run(Arc::clone(&status), listeners.clone(), slices, records);

    let tasks = Tasks::new();
    tasks.spawn("the status port", serving);
    tasks.spawn("the probe port", probing);
    let watching = tasks.spawn("the watch of EndpointSlices", watching);
    let following = tasks.spawn("the watch of the records of activator ports", following);
    tasks.spawn("writing reports", writing);
    tasks.spawn("sending reports", sending);
    // This task ends when the activator is ready. It is not in `tasks`, because the end of a task in `tasks` is an
    // error.
    let becoming_ready = tokio::spawn(becoming_ready);

    tokio::select! {
        ended = tasks.broken() => return Err(ended.into()),
        _ = signals.next() => {}
    }
    let ending = Ending {
        becoming_ready,
        status,
        leave,
        leave_within: options.leave_within,
        watches: [watching, following],
        close,
        listeners,
        drain_within: options.drain_within,
    };
    ending.run(&mut signals).await;
    Ok(())
}
