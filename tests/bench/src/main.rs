//! `ebb-bench`: the measurements behind `cargo xtask bench`, of the counter and of the activator.
//!
//! Bias: towards results that are reproducible on a noisy machine. Variants are measured in turn, each result is the
//! median of several rounds, and each ratio is the median of the ratios of adjacent measurements. Most servers and
//! clients are packages of the distribution, and the number of requests is the server's count. The exit code is 1 if a
//! result is outside its bound.

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

/// Measures the costs of Ebb's counter and of its activator.
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
            // Prints one line that names the failed measurement and the reason, instead of anyhow's backtrace.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the selected measurement and prints its results.
///
/// # Errors
/// If something that the measurement needs is missing, or the measurement was interrupted.
///
/// # Panics
/// If a server or client cannot be started. (The bench uses the fixtures of the tests, which panic.)
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
