//! Exactness: every shape of traffic there is, from real clients to real servers, each of which has
//! its own count to hold ours against.
//!
//! A test compares how *all* requests ended ([`Ends`](ebb_tests::harness::watch::Ends)): one that is
//! missed, counted twice, left in flight or taken for something that cannot be read shows as itself.

mod address;
mod fair;
mod hops;
mod http1;
mod http2;
mod joined;
mod loss;
mod mean;
mod mixed;
mod news;
mod packets;
mod probes;
mod shared;
mod tunnels;

use ebb_tests::harness::watch::{Totals, Watch};
use ebb_tests::harness::{Case, Need, TestCgroup};

use shared::Shared;

/// What most of these tests need.
const EBB: &[Need] = &[Need::Ebb];
const CURL: &[Need] = &[Need::Ebb, Need::Tool("curl")];

/// Short, so that what is waited for is seen soon.
const INTERVAL: &str = "100ms";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = http1::cases();
    cases.extend(http2::cases());
    cases.extend(
        [
            address::CASES,
            fair::CASES,
            hops::CASES,
            joined::CASES,
            loss::CASES,
            mean::CASES,
            mixed::CASES,
            news::CASES,
            packets::CASES,
            probes::CASES,
            tunnels::CASES,
        ]
        .into_iter()
        .flatten(),
    );
    cases
}

/// To be called when all tests are over.
pub(crate) fn end() {
    shared::end();
}

/// Starts a server, watches it while `traffic` goes to it, and gives what was seen until the last
/// request had ended.
#[track_caller]
fn watched<S>(
    start: impl FnOnce(&TestCgroup) -> S,
    traffic: impl FnOnce(&S, &mut Watch),
) -> Totals {
    let mut shared = Shared::take();
    let server = start(&shared.cgroup);
    shared.watch.begin();
    traffic(&server, &mut shared.watch);
    let totals = shared.watch.settle();
    drop(server);
    shared.give_back();
    totals
}

/// The same with a watch of its own, for its further arguments.
#[track_caller]
fn watched_with<S>(
    arguments: &[&str],
    start: impl FnOnce(&TestCgroup) -> S,
    traffic: impl FnOnce(&S, &mut Watch),
) -> Totals {
    let cgroup = TestCgroup::new();
    let server = start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, arguments);
    traffic(&server, &mut watch);
    watch.settle()
}
