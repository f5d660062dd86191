//! `ebb watch`: the counts and the integral.

mod choice;
mod ends;
mod nginx;
mod shapes;
mod wrong;

use ebb_fixtures::Case;

pub(crate) fn cases() -> Vec<Case> {
    [
        choice::CASES,
        ends::CASES,
        nginx::CASES,
        shapes::CASES,
        wrong::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}
