//! Runs the fuzzers for a short time. Each target counts as one test.

use anyhow::Result;

use super::count::Counts;
use crate::{cargo::Workspace, fuzz, setup};

/// Runs all fuzzers.
pub(super) fn run(workspace: &Workspace) -> Result<Counts> {
    if let Err(error) = setup::fuzz_tools() {
        return Ok(Counts::skipped(format!("fuzzing: {error:#}")));
    }
    let mut counts = Counts::default();
    for round in fuzz::fuzz(workspace, &[], fuzz::SECONDS)? {
        counts += &Counts::one(round.is_good());
        if !round.is_good() {
            counts.failures.push(round.to_string());
        }
    }
    Ok(counts)
}
