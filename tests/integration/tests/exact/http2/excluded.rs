//! Probes and scrapes over HTTP/2. Their header fields are compressed (RFC 7541): a field's value may be Huffman-coded,
//! or an index into a table that earlier fields have filled.

use std::time::{Duration, Instant};

use ebb_fixtures::client::Client;
use ebb_fixtures::h2::H2;
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need};

use crate::exact::probes::{METRICS, excluded};
use crate::exact::{EBB, watched_with};

const NGHTTP: &[Need] = &[Need::Ebb, Need::Tool("nghttp"), Need::Tool("h2load")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::kubelet_probe", EBB, || {
        between(&[("user-agent", "kube-probe/1.30")], "/?sleep=300");
    }),
    Case::beside("exact::http2::knative_probe", EBB, || {
        between(&[("k-network-probe", "queue")], "/?sleep=300");
    }),
    Case::beside("exact::http2::excluded_path", EBB, || {
        between(&[], "/metrics?sleep=300");
    }),
    Case::beside("exact::http2::kubelet_probe_compressed", NGHTTP, || {
        compressed("/", "user-agent: kube-probe/1.30");
    }),
    Case::beside("exact::http2::knative_probe_compressed", NGHTTP, || {
        compressed("/", "k-network-probe: queue");
    }),
    Case::beside("exact::http2::excluded_path_compressed", NGHTTP, || {
        compressed("/metrics", "x-a: b");
    }),
];

/// An excluded request between two counted ones, on the same connection at the same time, sent as literals.
fn between(fields: &[(&str, &str)], path: &str) {
    let mut took = Duration::ZERO;
    let totals = watched_with(
        METRICS,
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut h2 = H2::connect(server.address());
            let begun = Instant::now();
            let streams = [
                h2.get("/?sleep=300"),
                h2.get_with(path, fields),
                h2.get("/?sleep=300"),
            ];
            h2.answers(&streams);
            took = begun.elapsed();
        },
    );
    assert_eq!(totals.ends(), excluded(1, 2));
    // At least two requests of 300 ms, and at most as long as the test took.
    let most = 2.0 * took.as_secs_f64();
    assert!(
        (0.58..=most).contains(&totals.integral),
        "{totals:?}, {took:?}"
    );
}

/// Several requests on one connection, compressed by nghttp2: the first one fills the table, and the others refer to
/// it. Other requests are not excluded, to check that they count.
fn compressed(path: &str, field: &str) {
    let totals = watched_with(
        METRICS,
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let url = format!("http://{}{path}", server.address());
            let other = format!("http://{}/other", server.address());
            let plain = Client::start("nghttp", &["-v", "-n", "-m", "3", &other]).finish();
            let left_out = Client::start("nghttp", &["-v", "-n", "-m", "4", "-H", field, &url]);
            for report in [plain, left_out.finish()] {
                assert!(report.contains(":status: 200"), "{report}");
            }
            let load = ["-c", "2", "-n", "100", "-m", "5", "-H", field, &url];
            let report = Client::start("h2load", &load).finish();
            assert!(report.contains("100 succeeded, 0 failed"), "{report}");
            assert_eq!(server.stats().requests, 107);
        },
    );
    assert_eq!(totals.ends(), excluded(104, 4));
}
