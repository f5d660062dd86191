//! The activator's HTTP proxy: it forwards messages unchanged, queues requests within its limits, and never forwards an
//! invalid request.
//!
//! The tests use `ebb-test-proxy`, which contains only the activator's library. It is a separate process, so that a
//! test can observe its memory and its exit.

mod clients;
mod cluster;
mod large;
mod limit;
mod queued;
mod refused;
mod run;

use ebb_fixtures::Case;

pub(super) fn cases() -> impl Iterator<Item = Case> {
    [
        clients::CASES,
        cluster::CASES,
        queued::CASES,
        large::CASES,
        limit::CASES,
        refused::CASES,
        run::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
