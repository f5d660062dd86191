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
    // One thread: an agent is to cost next to nothing, and what it waits for it waits for in turn.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(node::run(args.run))
}
