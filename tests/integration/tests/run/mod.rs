//! `ebb run`: counting, scaling and proxying together on one host.

mod cold;
mod outside;
mod scale;
mod tidy;
mod wrong;
mod zero;

use ebb_fixtures::Case;

pub(crate) fn cases() -> Vec<Case> {
    [
        cold::CASES,
        outside::CASES,
        scale::CASES,
        tidy::CASES,
        wrong::CASES,
        zero::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}
