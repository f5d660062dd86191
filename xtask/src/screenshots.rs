//! `cargo xtask screenshots`: takes the pictures of the live page in the README.
//!
//! Builds the programs, and then executes `ebb-screenshots` of the tests' package, which takes the pictures with a
//! browser.

use std::{convert::Infallible, os::unix::process::CommandExt as _, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{TESTS_PACKAGE, Workspace},
    exec,
    root::Root,
    say, setup,
};

/// The program that takes the pictures.
const PROGRAM: &str = "ebb-screenshots";

pub(crate) fn run() -> Result<Infallible> {
    setup::toolchain()?;
    setup::test_tools()?;
    let workspace = Workspace::find()?;
    say::begin("building ebb and what takes the pictures");
    let start = Instant::now();
    let mut cargo = workspace.cargo(["build", "--package", "ebb", "--package", TESTS_PACKAGE]);
    for program in ["ebb", "ebb-sample", PROGRAM] {
        cargo.args(["--bin", program]);
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
