//! `cargo xtask fuzz`: feeds arbitrary bytes to the parsers. Coverage of the code guides the choice of the bytes.
//!
//! The fuzzers are in `fuzz/`, in the layout of cargo-fuzz; their code is in `ebpf/testing`. Neither cargo-fuzz nor a
//! nightly compiler is needed (see [`build`]). Inputs that reach new code are kept in the user's cache, so each run
//! continues the previous run; the first run begins with generated seeds. Bias: every finding is a failure; a run
//! without a finding does not prove that there are no errors.

mod build;
mod round;

use std::{
    fs, iter,
    num::NonZero,
    panic::resume_unwind,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context as _, Result, bail};

use crate::{cargo::Workspace, say, setup};
pub(crate) use round::Round;

/// Fuzz the parsers; findings are kept in fuzz/artifacts
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets to fuzz; all targets if none is given
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Time for which each target is fuzzed, in seconds
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
}

/// Default time for which each target is fuzzed, in seconds. It is short enough for CI.
pub(crate) const SECONDS: u64 = 30;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    setup::fuzz_tools()?;
    let rounds = fuzz(&workspace, &args.targets, args.seconds)?;
    Ok(if rounds.iter().all(Round::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the fuzzers and runs the `wanted` ones, or all if `wanted` is empty: one for each CPU at
/// the same time.
pub(crate) fn fuzz(workspace: &Workspace, wanted: &[String], seconds: u64) -> Result<Vec<Round>> {
    let mut targets = targets(workspace)?;
    if let Some(unknown) = wanted.iter().find(|name| !targets.contains(name)) {
        bail!(
            "unknown target {unknown}; the targets are {}",
            targets.join(", ")
        );
    }
    if !wanted.is_empty() {
        targets.retain(|name| wanted.contains(name));
    }
    let programs = build::build(workspace)?;
    let corpus = ebb_ebpf_build::cache_dir().join("fuzz");
    build::seeds(workspace, &corpus)?;
    let rounds = targets.into_iter().map(|name| Round {
        program: programs.join(&name),
        corpus: corpus.join(&name),
        findings: workspace.root.join("fuzz/artifacts").join(&name),
        name,
        found: None,
    });
    let queue = Mutex::new(rounds);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<Vec<Round>> {
        iter::from_fn(next)
            .map(|round| round.run(seconds))
            .collect()
    };
    // A fuzzer uses one CPU.
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let rounds = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |worker: ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let rounds: Vec<_> = rounds.into_iter().flatten().collect();
    for round in rounds.iter().filter(|round| !round.is_good()) {
        say::failed(&round.to_string());
    }
    Ok(rounds)
}

/// Returns the names of all targets: the names of the files in `fuzz/fuzz_targets`.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let dir = workspace.root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path: PathBuf = entry.context("cannot read a folder")?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
