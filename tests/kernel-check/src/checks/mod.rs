//! All checks, in the order in which they run.

mod ends;
mod http2;
mod loss;
mod mean;
mod open;
mod pins;
mod programs;
mod shapes;
mod which;

use super::Verdict;

pub(super) use which::{FETCH, fetch};

/// A check's name and function.
type Check = (&'static str, fn() -> Verdict);

/// Returns all checks. The first check loads the programs for all later checks.
pub(super) fn all() -> impl Iterator<Item = Check> {
    [
        programs::CHECKS,
        shapes::CHECKS,
        ends::CHECKS,
        which::CHECKS,
        mean::CHECKS,
        http2::CHECKS,
        open::CHECKS,
        pins::CHECKS,
        loss::CHECKS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
