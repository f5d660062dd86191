//! `ebb-sample`: see [`ebb_tests::sample`].

use clap::Parser;
use ebb_tests::sample::{Options, run};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // Two threads: enough for 50k requests per second, and the same on every machine, so that figures of different machines
    // are comparable.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(options))
}
