//! Probes and scrapes over HTTP/2. Header fields are compressed (RFC 7541): a value may be Huffman-coded, or an index
//! into a table that earlier fields have filled.

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

/// Sends one excluded request between two counted requests, all at the same time on one connection. The header fields
/// are sent as literals, without compression.
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
    // The two counted requests take at least 300 ms each, so the integral is about 0.6 s or more. Each takes at most
    // `took`, the duration of the test.
    let most = 2.0 * took.as_secs_f64();
    assert!(
        (0.58..=most).contains(&totals.integral),
        "{totals:?}, {took:?}"
    );
}

/// Sends several excluded requests on one connection, compressed by nghttp2: the first request fills the table, and
/// later requests refer to it. Also sends requests that must be counted.
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
