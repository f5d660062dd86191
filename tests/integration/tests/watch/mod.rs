//! `ebb watch`: its counts and its integral of the requests in flight.

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
