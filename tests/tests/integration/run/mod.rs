//! `ebb run`: the whole loop on one host.

mod cold;
mod scale;
mod tidy;
mod wrong;

use ebb_tests::harness::Case;

pub(crate) fn cases() -> Vec<Case> {
    [cold::CASES, scale::CASES, tidy::CASES, wrong::CASES]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}
