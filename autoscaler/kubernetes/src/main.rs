//! `ebb-autoscaler`: scales the workloads of a cluster.

use std::process::ExitCode;

use clap::Parser as _;
use ebb_autoscaler::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    ebb_metrics::log::begin();
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
    Ok(runtime.block_on(ebb_autoscaler::run(options))?)
}
