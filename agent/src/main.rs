//! `ebb-agent`: counts the requests in flight at the pods of a node.

mod node;

use std::process::ExitCode;

use clap::Parser as _;
use node::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    ebb_metrics::log::begin();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Command::Detach { pins }) = &args.command {
        return node::detach(pins);
    }
    // One thread is enough and costs least: the agent's tasks wait most of the time.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(node::run(args.run))
}
