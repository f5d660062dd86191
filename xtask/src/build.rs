//! `cargo xtask build`: all programs, in the release profile.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    cargo::{PROGRAM_PACKAGES, Workspace},
    say, setup,
};

/// A line of `cargo build --message-format=json`, the part in use.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

pub(crate) fn run() -> Result<ExitCode> {
    setup::toolchain()?;
    let workspace = Workspace::find()?;
    say::begin("building all programs (release profile)");
    let start = Instant::now();
    let mut cargo = workspace.cargo([
        "build",
        "--release",
        "--message-format=json-render-diagnostics",
    ]);
    for package in PROGRAM_PACKAGES {
        cargo.args(["--package", package]);
    }
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for line in BufReader::new(messages).lines() {
        let line = line.context("cannot read what cargo says")?;
        // Other kinds of message have no such field, or are no JSON at all.
        programs.extend(
            serde_json::from_str::<Message>(&line)
                .ok()
                .and_then(|m| m.executable),
        );
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("the programs do not build: see above");
    }
    say::done("all programs built", start.elapsed());
    for program in programs {
        println!("{}", program.display());
    }
    Ok(ExitCode::SUCCESS)
}
