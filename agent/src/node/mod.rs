//! The agent of one node: watches the node's pods, counts those that opted in, and sends reports.
//!
//! One task does all the work, so only the state shown to other tasks needs a lock. The agent buffers and resends
//! nothing: every report is cumulative.

mod announce;
pub(crate) mod args;
mod burst;
mod counting;
mod kubelet;
mod lack;
mod meter;
mod metrics;
mod pod;
mod pods;
mod report;
mod run;
mod status;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};
use ebb_agent::{cgroup, pins::Pins};
use ebb_metrics::{Hosts, probe, tasks::Tasks};
use ebb_report_client::{Credentials, send};
use hyper::body::Bytes;
use kube::Client;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{
    announce::Announcer,
    args::Run,
    counting::Counting,
    kubelet::Kubelet,
    lack::Place,
    metrics::{Metrics, View},
    report::Reporter,
    status::Status,
};

/// Runs the agent until SIGTERM or SIGINT. Counting with pinned programs continues afterwards.
pub(crate) async fn run(args: Run) -> anyhow::Result<()> {
    if args.node.is_empty() {
        bail!(
            "no --node given, and NODE_NAME is not set: it must be the name of the Node this runs on"
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = Client::try_default()
        .await
        .context("cannot tell where the API server is")?;
    let shown = Arc::new(Mutex::new(View::default()));
    let metrics = Metrics::new(&shown);
    let listener = TcpListener::bind(args.status_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.status_address))?;
    let probe_port = probe::listen(args.probe_address, args::PROBES)
        .await
        .with_context(|| {
            let address = args.probe_address.unwrap_or(args::PROBES);
            format!("cannot listen on {address} (--probe-address)")
        })?;

    let tasks = Tasks::new();
    let status = Status {
        shown: Arc::clone(&shown),
        metrics: Arc::clone(&metrics),
    };
    let status = Arc::new(status);
    let hosts = Hosts::new(args.allowed_hosts);
    tasks.spawn(
        "the status port",
        ebb_metrics::status::serve(listener, Arc::clone(&status), hosts),
    );
    tasks.spawn("the probe port", probe::serve(probe_port, status));
    let (reports, newest) = watch::channel(Bytes::new());
    let credentials = Arc::new(Credentials::new(args.token_file, args.autoscaler_ca));
    if args.autoscaler.is_empty() {
        tracing::warn!("no --autoscaler given: figures are shown at /metrics only");
    }
    for url in args.autoscaler {
        let credentials = Arc::clone(&credentials);
        tasks.spawn(
            format!("reports to {url}"),
            send(
                url,
                ebb_contract::PATH,
                credentials,
                newest.clone(),
                metrics.sending(),
            ),
        );
    }

    // Without a cgroup v2 mount the path is empty and no cgroup is looked up.
    let root = args
        .cgroup_root
        .unwrap_or_else(|| cgroup::v2_mount().unwrap_or_default());
    let node = run::Node {
        pods: pods::watch(client.clone(), &args.node),
        announcer: Announcer::new(client, &args.node),
        reporter: Reporter::new(args.node).context("cannot read the boot id")?,
        counting: Counting::new(Kubelet::new(root, &args.kubelet_cgroup_root)),
        place: Place {
            pins: args.pins,
            kubelet_cgroup_root: args.kubelet_cgroup_root,
        },
        shown,
        metrics,
        reports,
    };
    tokio::select! {
        result = node.run() => result,
        ended = tasks.broken() => Err(ended.into()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Stops all counting that an agent has left on this node.
pub(crate) fn detach(pins: &Path) -> anyhow::Result<()> {
    if !pins.exists() {
        return Ok(());
    }
    let pins = Pins::open(pins)?;
    pins.remove()?;
    Ok(())
}
