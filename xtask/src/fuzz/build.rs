//! Builds the fuzzers with the compiler that also builds the workspace.
//!
//! For libFuzzer, each branch of the code must report that it has been taken. The compiler flags for these reports are
//! stable. cargo-fuzz needs a nightly compiler only for a sanitizer, which is of little use for code with almost no
//! `unsafe`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{cargo, cargo::Workspace, exec};

/// The flags that cargo-fuzz 0.13 passes with `--sanitizer none` (its src/project.rs): they count each branch, report
/// the values that are compared, and prevent the merging of branches.
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

/// Time limit of the build, which takes two minutes on two cores.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Builds all fuzzers and returns their folder.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = cargo::host()?;
    let target_dir = workspace.fuzz_dir();
    let mut cargo = workspace.cargo(["build", "--release", "--bins", "--locked"]);
    cargo
        .args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
        .arg(&target_dir)
        // With an explicit target, cargo builds build scripts and procedural macros without RUSTFLAGS.
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

/// Writes the seeds of the fuzzers into their corpus, beside the inputs of earlier runs.
pub(super) fn seeds(workspace: &Workspace, corpus: &Path) -> Result<()> {
    let mut cargo = workspace.cargo(["run", "--quiet", "--package", "ebb-parser-testing"]);
    cargo.args(["--bin", "seeds", "--"]).arg(corpus);
    exec::watched("writing seeds", &mut cargo, &exec::log("fuzz-seeds"), LIMIT)
}
