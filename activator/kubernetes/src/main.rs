//! `ebb-activator`: queues the requests to workloads without pods in a Kubernetes cluster. It connects the reverse
//! proxy `ebb-proxy` to Kubernetes. `docs/activator.md` explains how requests are routed to the activator.
//!
//! The activator reads EndpointSlices and the record of its ports, and writes no Kubernetes object. Bias: known pods
//! and ports remain valid until the API server reports a change. Failure mode: without an API server the activator
//! continues with the pods that it knows. Without an autoscaler it queues requests up to their limits, and its log and
//! metrics show that reports cannot be sent.

mod ending;
mod failure;
mod listeners;
mod metrics;
mod options;
mod ready;
mod record;
mod report;
mod run;
mod slice;
mod status;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    ebb_metrics::log::begin();
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run::run(options))?)
}
