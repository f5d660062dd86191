//! Building the fuzzers with the workspace's own compiler.
//!
//! libFuzzer needs each branch of the code to tell that it has been taken. The compiler's flags for that
//! are stable; what cargo-fuzz needs a nightly for is a sanitizer, of which code almost without `unsafe` has
//! little use.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{cargo, cargo::Workspace, exec};

/// What cargo-fuzz 0.13 passes with `--sanitizer none` (its src/project.rs): counters for each branch, the values
/// that are compared, and branches left as they are written.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Half an hour for a build that takes two minutes on two cores.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Builds all of them. Returns where they are.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = cargo::host()?;
    let target_dir = workspace.fuzz_dir();
    let mut cargo = workspace.cargo(["build", "--release", "--bins", "--locked"]);
    cargo
        .args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
        .arg(&target_dir)
        // With a target named, what runs while building (macros, build scripts) is built without the flags.
        .args(["--target", &host])
        .env("RUSTFLAGS", FLAGS.join(" "));
    exec::watched(
        "building the fuzzers",
        &mut cargo,
        &exec::log("fuzz-build"),
        LIMIT,
    )?;
    Ok(target_dir.join(host).join("release"))
}

/// Writes what the fuzzers begin with beside what they have kept.
pub(super) fn seeds(workspace: &Workspace, corpus: &Path) -> Result<()> {
    let mut cargo = workspace.cargo(["run", "--quiet", "--package", "ebb-common-testing"]);
    cargo.args(["--bin", "seeds", "--"]).arg(corpus);
    exec::watched("writing seeds", &mut cargo, &exec::log("fuzz-seeds"), LIMIT)
}
