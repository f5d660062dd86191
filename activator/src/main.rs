//! `ebb-activator`: holds the requests of workloads that have no pods, in a cluster.

use std::process::ExitCode;

use clap::Parser as _;
use ebb_activator::cluster::{self, Options};
use tracing_subscriber::EnvFilter;

/// What the client library warns of, this program says itself, and once.
const LOG: &str = "info,kube_client=error,kube_runtime=error";

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("EBB_LOG").unwrap_or_else(|_| EnvFilter::new(LOG)))
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(cluster::run(options))?)
}
