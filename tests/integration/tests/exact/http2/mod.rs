//! HTTP/2: each stream is one request in flight, from the first byte of its HEADERS frame until the server sends
//! END_STREAM or either side sends RST_STREAM.

mod answers;
mod excluded;
mod floods;
mod grpc;
mod load;
mod requests;
mod resets;
mod servers;
mod sizes;
mod upgrade;

use ebb_fixtures::server::{Sample, Script, Service};
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Need};

use super::watched;

/// Requirements of the tests that use the server built on Python's h2.
const FRAMES: &[Need] = &[Need::Ebb, Need::Python("h2")];

pub(super) fn cases() -> Vec<Case> {
    [
        answers::CASES,
        excluded::CASES,
        floods::CASES,
        grpc::CASES,
        load::CASES,
        requests::CASES,
        resets::CASES,
        servers::CASES,
        sizes::CASES,
        upgrade::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

/// Watches an `ebb-sample` while `traffic` sends requests to it. Asserts that all requests are answered, and that Ebb's
/// count and the server's count match.
#[track_caller]
fn all_answered_by_sample(requests: u64, traffic: impl FnOnce(&Sample, &mut Watch)) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            traffic(server, watch);
            assert_eq!(server.stats().requests, requests);
        },
    );
    // The query of the server's count is an HTTP/1 request, which is counted too.
    assert_eq!(totals.ends(), Ends::answered(requests + 1));
}

/// Like [`all_answered_by_sample`], with the server built on Python's h2.
#[track_caller]
fn all_answered_by_h2(requests: u64, traffic: impl FnOnce(&Service, &mut Watch)) {
    let totals = watched(
        |cgroup| Service::start(Script::Frames, cgroup),
        |server, watch| {
            traffic(server, watch);
            assert_eq!(server.requests(), requests);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(requests));
}
