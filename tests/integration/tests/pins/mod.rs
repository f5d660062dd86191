//! Restart and upgrade: counting continues while no process runs, and while programs are exchanged.

mod keeper;
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
