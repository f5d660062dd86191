//! The agent of one node: watches the node's pods, counts those that opted in, and sends reports.
//!
//! One task does all the work, so only the state that other tasks read needs a lock. The agent neither buffers nor
//! resends reports: every report is cumulative.

mod announce;
pub(crate) mod args;
mod burst;
mod container;
mod counting;
mod hop;
mod kubelet;
mod meter;
mod metrics;
mod pod;
mod pods;
mod report;
mod run;
mod sidecar;
mod status;
mod unavailable;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use ebb_agent::{cgroup, pins::Pins};
use ebb_contract::PATH;
use ebb_metrics::{Hosts, ports, probe, signals::Signals, tasks::Tasks};
use ebb_report_client::{Credentials, send};
use hyper::body::Bytes;
use kube::Client;
use tokio::sync::watch;

use self::{
    announce::Announcer,
    args::Run,
    counting::Counting,
    kubelet::Kubelet,
    metrics::{Metrics, View},
    report::Reporter,
    status::Status,
    unavailable::CounterPaths,
};

/// The default port for probes.
const PROBE_PORT: u16 = 9475;

/// Runs the agent until SIGTERM, SIGINT or SIGHUP. Counting with pinned programs continues afterwards.
pub(crate) async fn run(args: Run) -> anyhow::Result<()> {
    args.require_node()?;
    let mut signals = Signals::catch()?;
    let client = Client::try_default()
        .await
        .context("no usable configuration for reaching the API server")?;
    let status_port = ports::listen(args.status_address, "--status-address").await?;
    let probe_port = probe::listen(args.probe_address, PROBE_PORT).await?;

    let view = Arc::new(Mutex::new(View::default()));
    let metrics = Metrics::new(&view);
    let outcomes = metrics.sending();
    let status = Arc::new(Status {
        view: Arc::clone(&view),
        metrics: Arc::clone(&metrics),
    });
    let hosts = Hosts::new(args.allowed_hosts);
    let (reports, newest) = watch::channel(Bytes::new());
    let credentials = Arc::new(Credentials::new(args.token_file, args.autoscaler_ca));
    // Without a cgroup v2 mount the path is empty, and no cgroup is ever found.
    let root = args
        .cgroup_root
        .unwrap_or_else(|| cgroup::v2_mount().unwrap_or_default());
    let node = run::Node {
        pods: pods::watch(client.clone(), &args.node),
        announcer: Announcer::new(client, &args.node),
        reporter: Reporter::new(args.node).context("cannot read the boot id")?,
        counting: Counting::new(Kubelet::new(root, &args.kubelet_cgroup_root)),
        paths: CounterPaths {
            pins: args.pins,
            kubelet_cgroup_root: args.kubelet_cgroup_root,
        },
        view,
        metrics,
        reports,
    };

    let tasks = Tasks::new();
    let serving = ebb_metrics::status::serve(status_port, Arc::clone(&status), hosts);
    tasks.spawn("the status port", serving);
    tasks.spawn("the probe port", probe::serve(probe_port, status));
    if args.autoscaler.is_empty() {
        tracing::warn!("no --autoscaler given: counts are not reported, only shown at /metrics");
    }
    for url in args.autoscaler {
        let name = format!("reports to {url}");
        let (credentials, outcomes) = (Arc::clone(&credentials), outcomes.clone());
        tasks.spawn(name, send(url, PATH, credentials, newest.clone(), outcomes));
    }
    tokio::select! {
        result = node.run() => result,
        ended = tasks.broken() => Err(ended.into()),
        _ = signals.next() => Ok(()),
    }
}

/// Stops the counting with pinned programs that an agent has left running on this node.
pub(crate) fn detach(pins: &Path) -> anyhow::Result<()> {
    if !pins.exists() {
        return Ok(());
    }
    let pins = Pins::open(pins)?;
    pins.remove()?;
    Ok(())
}
