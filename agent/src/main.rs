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
    // One thread, because an agent must cost next to nothing. Its tasks wait for their events in turn.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(node::run(args.run))
}
