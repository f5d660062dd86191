//! `ebb-activator`: queues the requests of workloads that have no pods, in a cluster. It is the reverse proxy `ebb-proxy`
//! with Kubernetes around it. `docs/activator.md` explains how traffic reaches the activator and what routes it there.
//!
//! It reads EndpointSlices and the record of its ports, and writes nothing. Bias: what was known stays valid until the
//! API server says otherwise. Failure mode: without an API server it goes on with the pods that it knows. Without an
//! autoscaler it queues requests up to their limits, and says so in its log and metrics.

mod ending;
mod failure;
mod files;
mod listeners;
mod metrics;
mod options;
mod ports;
mod ready;
mod record;
mod report;
mod run;
mod signals;
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
