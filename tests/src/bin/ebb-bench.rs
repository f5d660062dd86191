//! `ebb-bench`: see [`ebb_tests::bench`].

use std::process::ExitCode;

use clap::Parser;
use ebb_tests::bench::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            // One line: what could not be measured, and why. Not anyhow's backtrace.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
