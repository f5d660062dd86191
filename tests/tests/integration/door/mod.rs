//! The front door: what passes through it comes out as it went in, what waits before it waits as it should, and
//! what is no request does not pass.
//!
//! The door is `ebb-test-door`, which is the activator's library and nothing else: a process of its own, so that its
//! memory and its end can be seen.

mod clients;
#[cfg(feature = "cluster")]
mod cluster;
mod front;
mod held;
mod large;
mod limit;
mod refused;
mod run;

use ebb_tests::harness::Case;

pub(super) fn cases() -> impl Iterator<Item = Case> {
    [
        clients::CASES,
        #[cfg(feature = "cluster")]
        cluster::CASES,
        held::CASES,
        large::CASES,
        limit::CASES,
        refused::CASES,
        run::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
