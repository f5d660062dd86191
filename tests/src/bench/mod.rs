//! What the counter costs: the measurements behind `cargo xtask bench`.
//!
//! Biased towards figures that hold on a noisy machine: what is compared is measured in turn, a
//! figure is the median of several turns, and a ratio is the median of the ratios of neighbours in
//! time. Servers and clients are those of the distribution, and the server's own count says how
//! many requests there were. It ends with exit code 1 where a bound is missed.

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
mod sample;
mod site;
mod stream;
mod table;

use std::process::ExitCode;

/// Measures what Ebb's counter costs.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    Door(door::Options),
    Kernel(kernel::Options),
    Overhead(overhead::Options),
}

/// Measures, and prints what came out.
///
/// # Errors
/// Something that the measurement needs is not there, or it was interrupted.
///
/// # Panics
/// A server or client could not be started (the fixtures are those of the tests).
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
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
