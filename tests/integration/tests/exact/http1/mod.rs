//! HTTP/1.1: the counter finds the beginning and end of each message, however it is split into packets, and whichever
//! side aborts it.

mod chunks;
mod cut;
mod heads;
mod interim;
mod large;
mod lengths;
mod pipelines;
mod slow;
mod unreadable;

use ebb_fixtures::Case;

pub(super) fn cases() -> Vec<Case> {
    [
        chunks::CASES,
        cut::CASES,
        heads::CASES,
        interim::CASES,
        large::CASES,
        lengths::CASES,
        pipelines::CASES,
        slow::CASES,
        unreadable::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}
