//! `cargo xtask build`: builds all programs in the release profile.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    cargo::{PROGRAM_PACKAGES, Workspace},
    say, setup,
};

/// A message of `cargo build --message-format=json`, with the only field that is used.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

pub(crate) fn run() -> Result<ExitCode> {
    setup::toolchain()?;
    let workspace = Workspace::find()?;
    say::begin("building all programs (release profile)");
    let start = Instant::now();
    let programs = programs(&workspace, &PROGRAM_PACKAGES, |_| ())?;
    say::done("all programs built", start.elapsed());
    for program in programs {
        println!("{}", program.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs of `packages` in the release profile and returns their paths. `prepare` may extend the cargo
/// command.
pub(crate) fn programs(
    workspace: &Workspace,
    packages: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> Result<Vec<PathBuf>> {
    let mut cargo = workspace.cargo([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
    ]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    prepare(&mut cargo);
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for line in BufReader::new(messages).lines() {
        let line = line.context("cannot read cargo's output")?;
        // Lines that are not JSON, and messages without the field `executable`, are ignored.
        programs.extend(
            serde_json::from_str::<Message>(&line)
                .ok()
                .and_then(|m| m.executable),
        );
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("the build of the programs failed: see the errors above");
    }
    Ok(programs)
}
