//! Probes and scrapes: excluded from the count, and from the integral.

use std::time::Duration;

use ebb_fixtures::client::curl;
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::{Ends, Totals};
use ebb_fixtures::{Case, Wire};

use super::{CURL, EBB, watched, watched_with};

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::kubelet_probe", EBB, || {
        probe("User-Agent: kube-probe/1.30", 0);
    }),
    Case::beside("exact::kubelet_probe_2_kib_late", EBB, || {
        probe("User-Agent: kube-probe/1.30", 2_048);
    }),
    Case::beside("exact::knative_probe", EBB, || {
        probe("K-Network-Probe: queue", 0);
    }),
    Case::beside("exact::knative_probe_2_kib_late", EBB, || {
        probe("K-Network-Probe: queue", 2_048);
    }),
    Case::beside("exact::knative_kubelet_probe_2_kib_late", EBB, || {
        probe("k-kubelet-probe: value", 2_048);
    }),
    Case::beside("exact::probe_between_requests_in_a_pipeline", EBB, pipeline),
    Case::beside("exact::probe_seconds_late", EBB, seconds_late),
    Case::beside(
        "exact::what_only_looks_like_a_probe_counts",
        EBB,
        not_probes,
    ),
    Case::beside("exact::scrapes_of_an_excluded_path", CURL, scrapes),
];

pub(super) fn excluded(excluded: u64, answered: u64) -> Ends {
    Ends {
        answered,
        excluded,
        ..Ends::default()
    }
}

/// The maximum integral of excluded requests that a test accepts, in request-seconds. It is not exactly 0: a probe is
/// part of the integral until the header field that identifies it has been read, and `ebb watch` may print a line
/// before that.
const NOTHING: f64 = 0.02;

#[track_caller]
fn assert_only_excluded(totals: &Totals, count: u64) {
    assert_eq!(totals.ends(), excluded(count, 0));
    assert!(totals.integral.abs() < NOTHING, "{totals:?}");
}

/// Sends probes that the server answers after 300 ms each. The header field that identifies a probe comes after `late`
/// bytes of other fields.
fn probe(field: &str, late: usize) {
    let padding = format!("X-Padding: {}\r\n", "p".repeat(110)).repeat(late.div_ceil(123));
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for _ in 0..3 {
                wire.get("/?sleep=300", &format!("{padding}{field}\r\n"));
                assert_eq!(wire.response(), 200);
            }
        },
    );
    assert_only_excluded(&totals, 3);
}

fn pipeline() {
    let [plain, probe] = ["X-A: b", "User-Agent: kube-probe/1.30"]
        .map(|field| format!("GET /?sleep=50 HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"));
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            wire.send([&*plain, &*probe, &*plain, &*probe, &*probe].concat());
            for _ in 0..5 {
                assert_eq!(wire.response(), 200);
            }
        },
    );
    assert_eq!(totals.ends(), excluded(3, 2));
    // The two counted requests take 50 ms and 150 ms, so the integral is about 0.2 s.
    assert!((0.2..0.3).contains(&totals.integral), "{totals:?}");
}

/// Sends a probe whose identifying field arrives in a later interval than its first byte. The correction cannot change
/// the lines already written, but their sum must be right.
fn seconds_late() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send("GET / HTTP/1.1\r\nHost: test\r\n");
            watch.line_after(Duration::from_millis(300));
            wire.send("User-Agent: kube-probe/1.30\r\n\r\n");
            assert_eq!(wire.response(), 200);
            watch.settle();
            // This request is no probe. It must be counted in full, which shows that no part of the correction for the
            // probe is left over.
            wire.get("/?sleep=500", "");
            assert_eq!(wire.response(), 200);
        },
    );
    assert_eq!(totals.ends(), excluded(1, 1));
    assert!((0.48..0.6).contains(&totals.integral), "{totals:?}");
}

fn not_probes() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for field in [
                "User-Agent: my-kube-probe/1.30",
                "X-User-Agent: kube-probe/1.30",
                "X-A: K-Network-Probe: queue",
                "K-Network-Prober: queue",
                "Referer: kube-probe/1.30",
            ] {
                wire.get("/", &format!("{field}\r\n"));
                assert_eq!(wire.response(), 200, "{field}");
            }
            // A body that contains the header field of a probe does not make its request a probe.
            let body = "User-Agent: kube-probe/1.30\r\n\r\n";
            wire.send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(wire.response(), 200);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(6));
}

/// The arguments of `ebb watch` that exclude the path `/metrics`.
pub(super) const METRICS: &[&str] = &["--exclude-path", "/metrics"];

/// Sends scrapes as Prometheus does: with the same header fields, on a persistent connection, and with compressed
/// responses accepted.
fn scrapes() {
    let options = [
        "-A",
        "Prometheus/2.53.0",
        "-H",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "-H",
        "Accept-Encoding: gzip",
        "-H",
        "X-Prometheus-Scrape-Timeout-Seconds: 10",
    ];
    let totals = watched_with(
        METRICS,
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let url = format!("http://{}/metrics?sleep=200", server.address());
            let fetched = curl(&options, &[&url; 5]);
            assert!(fetched.iter().all(|f| f.status == 200));
        },
    );
    assert_only_excluded(&totals, 5);
}
