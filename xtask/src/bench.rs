//! `cargo xtask bench`: measures the cost of the counter on this machine.
//!
//! Builds the programs that take part in the release profile, as they are shipped, and then executes `ebb-bench`
//! (`tests/bench`), which measures. So xtask needs few dependencies, and a Ctrl-C reaches the program that has to clean up.

use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt as _, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    build,
    cargo::{FIXTURES_PACKAGE, Workspace},
    root::Root,
    say, setup,
};

/// The program that measures, and its package.
const BENCH: &str = "ebb-bench";

/// Measure the cost of the counter: `bench kernel`, `bench overhead`, `bench door` (each with
/// `--help`)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to the program that measures
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
    say::begin("building ebb and the program that measures");
    let start = Instant::now();
    let programs = build::programs(&workspace, &["ebb", FIXTURES_PACKAGE, BENCH], |cargo| {
        cargo.arg("--no-default-features");
        for program in ["ebb", "ebb-sample", "ebb-test-door", BENCH] {
            cargo.args(["--bin", program]);
        }
    })?;
    let bench = programs
        .iter()
        .find(|program| program.ends_with(BENCH))
        .with_context(|| format!("cargo has built no {BENCH}"))?;
    say::done("built", start.elapsed());
    let root = Root::ask("load kernel programs and measure their run time")?;
    let mut command = root.command(bench);
    command.args(&args.arguments);
    Err(command.exec()).with_context(|| format!("cannot start {}", bench.display()))
}
