//! `ebb-bench`: the measurements behind `cargo xtask bench`, of the counter and of the activator.
//!
//! Bias: towards figures that hold on a noisy machine. Compared things are measured in turn, a figure is the median of
//! several turns, and a ratio is the median of the ratios of adjacent measurements. Servers and clients are the
//! distribution's, and the server's own count gives the number of requests. The exit code is 1 if a bound is missed.

mod bpf;
mod counted;
mod door;
mod interrupt;
mod kernel;
mod load;
mod median;
mod nginx;
mod overhead;
mod program;
mod runs;
mod site;
mod stream;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

/// Measures what Ebb's counter costs.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    Door(door::Options),
    Kernel(kernel::Options),
    Overhead(overhead::Options),
}

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

/// Measures and prints the results.
///
/// # Errors
/// If something that the measurement needs is missing, or it was interrupted.
///
/// # Panics
/// If a server or client cannot be started (the fixtures are those of the tests).
fn run(options: &Options) -> anyhow::Result<ExitCode> {
    interrupt::listen()?;
    let good = match &options.bench {
        Bench::Door(options) => door::run(options)?,
        Bench::Kernel(options) => kernel::run(options)?,
        Bench::Overhead(options) => overhead::run(options)?,
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
