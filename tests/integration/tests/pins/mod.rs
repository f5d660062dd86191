//! Restart and upgrade: counting continues while no agent process runs, and while the kernel programs are replaced.

pub(crate) mod keeper;
mod leftovers;
mod restart;

use ebb_fixtures::Case;

pub(crate) fn cases() -> Vec<Case> {
    [leftovers::CASES, restart::CASES]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}
