//! `cargo xtask`: commands for everything that a contributor does with the code, except editing it.
//!
//! Designed for the machine of a newcomer: each command first installs the tools that the machine lacks, and shows each
//! step and its duration. Root is requested in one place ([`root`]), with the reason. A step that cannot run on this
//! machine is reported and counted, never silently skipped.

mod bench;
mod build;
mod cargo;
mod dashboards;
mod demo;
mod exec;
mod fuzz;
mod image;
mod kernels;
mod manifests;
mod root;
mod say;
mod screenshots;
mod setup;
mod table;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, tests and demonstrates Ebb.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    /// Build all programs in the release profile and print their paths
    Build,
    /// Build the programs for a cluster, statically linked, and put them into an OCI image (with buildah)
    Image,
    /// Regenerate deploy/ebb.yaml (with kubectl), Prometheus' rules and Grafana's dashboards
    Manifests,
    Test(test::Args),
    Demo(demo::Args),
    /// Take docs/page-light.png and docs/page-dark.png, the live page during a demonstration (two minutes)
    Screenshots,
    Bench(bench::Args),
    Kernels(kernels::Args),
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Build => build::run(),
        Command::Image => image::run(),
        Command::Manifests => manifests::run().map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
        Command::Screenshots => screenshots::run().map(|never| match never {}),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args).map(|never| match never {}),
        Command::Kernels(args) => kernels::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // The error and its causes are printed on one line, without anyhow's backtrace.
            say::failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
