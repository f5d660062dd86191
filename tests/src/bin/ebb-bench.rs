//! `ebb-bench`: see [`ebb_tests::bench`].

use std::process::ExitCode;

use clap::Parser;
use ebb_tests::bench::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            // One line that names the failed measurement and the reason, instead of anyhow's backtrace.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
