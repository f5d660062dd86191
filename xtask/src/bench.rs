//! `cargo xtask bench`: measures the cost of the counter on this machine.
//!
//! Builds the measured programs and `ebb-bench` (`tests/bench`) in the release profile, as for a release, and then
//! executes `ebb-bench`. xtask itself measures nothing: so it needs few dependencies, and Ctrl-C directly reaches
//! `ebb-bench`, which has to clean up.

use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt as _, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    build,
    cargo::{FIXTURES_PACKAGE, Workspace},
    root::Root,
    say, setup,
};

/// Name of the benchmark program and of its package.
const BENCH: &str = "ebb-bench";

/// Measure the cost of the counter: `bench kernel`, `bench overhead`, `bench door` (each with
/// `--help`)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments for the benchmark program, `ebb-bench`
    #[arg(
        value_name = "kernel|overhead|door",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<Infallible> {
    setup::toolchain()?;
    setup::test_tools()?;
    let workspace = Workspace::find()?;
    say::begin("building ebb and the benchmark program");
    let start = Instant::now();
    let programs = build::programs(&workspace, &["ebb", FIXTURES_PACKAGE, BENCH], |cargo| {
        cargo.arg("--no-default-features");
        for program in ["ebb", "ebb-sample", "ebb-test-proxy", BENCH] {
            cargo.args(["--bin", program]);
        }
    })?;
    let bench = programs
        .iter()
        .find(|program| program.ends_with(BENCH))
        .with_context(|| format!("cargo did not build {BENCH}"))?;
    say::done("built", start.elapsed());
    let root = Root::ask("load kernel programs and measure their run time")?;
    let mut command = root.command(bench);
    command.args(&args.arguments);
    Err(command.exec()).with_context(|| format!("cannot start {}", bench.display()))
}
