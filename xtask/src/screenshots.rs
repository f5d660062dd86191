//! `cargo xtask screenshots`: takes the screenshots of the live page for the README.
//!
//! Builds the programs, and then executes `ebb-screenshots` of the end-to-end tests.

use std::{convert::Infallible, os::unix::process::CommandExt as _, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{FIXTURES_PACKAGE, Workspace},
    exec,
    root::Root,
    say, setup,
};

/// The package of the program that takes the screenshots.
const PACKAGE: &str = "ebb-e2e";

/// The program that takes the screenshots.
const PROGRAM: &str = "ebb-screenshots";

pub(crate) fn run() -> Result<Infallible> {
    setup::toolchain()?;
    setup::test_tools()?;
    let workspace = Workspace::find()?;
    say::begin("building ebb and the screenshot program");
    let start = Instant::now();
    let mut cargo = workspace.cargo(["build"]);
    for (package, program) in [
        ("ebb", "ebb"),
        (FIXTURES_PACKAGE, "ebb-sample"),
        (PACKAGE, PROGRAM),
    ] {
        cargo.args(["--package", package, "--bin", program]);
    }
    exec::run(&mut cargo)?;
    say::done("built", start.elapsed());
    let root = Root::ask("load the kernel programs that count requests")?;
    let program = workspace.bin_dir().join(PROGRAM);
    let mut command = root.command(&program);
    command
        .arg(workspace.root.join("docs"))
        .env("EBB_BIN_DIR", workspace.bin_dir());
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}
