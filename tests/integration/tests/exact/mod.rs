//! Exactness: every shape of traffic, from real clients to real servers. Each server keeps its own count, and the tests
//! compare Ebb's count with it.
//!
//! A test compares how *all* requests ended ([`Ends`](ebb_fixtures::watch::Ends)): a request that is missed, counted
//! twice, left in flight or counted as opaque changes one of the fields.

mod address;
mod fair;
mod field;
mod hops;
mod http1;
mod http2;
mod kernel_messages;
mod kinds;
mod loss;
mod mean;
mod mesh;
mod mid_stream;
mod mixed;
mod outside;
mod packets;
mod probes;
mod servers;
mod shared;
mod tunnels;

use ebb_fixtures::watch::{Totals, Watch};
use ebb_fixtures::{Case, Need, TestCgroup};

pub(crate) use servers::CLIENT;
use shared::Shared;

/// The requirement that nearly all of these tests have.
const EBB: &[Need] = &[Need::Ebb];
const CURL: &[Need] = &[Need::Ebb, Need::Tool("curl")];

/// The reporting interval of `ebb watch` in these tests. It is short, so that the tests see changes early.
const INTERVAL: &str = "100ms";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = http1::cases();
    cases.extend(http2::cases());
    cases.extend(kinds::cases());
    cases.extend(
        [
            address::CASES,
            fair::CASES,
            field::CASES,
            hops::CASES,
            mid_stream::CASES,
            loss::CASES,
            mean::CASES,
            mesh::CASES,
            mixed::CASES,
            kernel_messages::CASES,
            outside::CASES,
            packets::CASES,
            probes::CASES,
            servers::CASES,
            tunnels::CASES,
        ]
        .into_iter()
        .flatten(),
    );
    cases
}

/// Ends the shared watches. Must be called when all tests have ended.
pub(crate) fn end() {
    shared::end();
}

/// Starts a server, watches it while `traffic` sends requests to it, and returns the totals once the last request has
/// ended.
#[track_caller]
fn watched<S>(
    start: impl FnOnce(&TestCgroup) -> S,
    traffic: impl FnOnce(&S, &mut Watch),
) -> Totals {
    let mut shared = Shared::take(INTERVAL);
    let server = start(&shared.cgroup);
    shared.watch.begin();
    traffic(&server, &mut shared.watch);
    let totals = shared.watch.settle();
    drop(server);
    shared.give_back();
    totals
}

/// Like [`watched`], with a separate `ebb watch` that is started with `arguments`.
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
