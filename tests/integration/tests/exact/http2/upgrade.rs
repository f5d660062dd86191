//! HTTP/2 by upgrade from HTTP/1.1 (RFC 7540, 3.2): the request with the `Upgrade` field is stream 1.

use ebb_fixtures::client::{Client, curl};
use ebb_fixtures::server::Apache;
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need};

use crate::exact::watched;

const CURL: &[Need] = &[Need::Ebb, Need::Tool("apache2"), Need::Tool("curl")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::upgrade_by_curl", CURL, by_curl),
    Case::beside(
        "exact::http2::upgrade_by_nghttp",
        &[Need::Ebb, Need::Tool("apache2"), Need::Tool("nghttp")],
        by_nghttp,
    ),
    Case::beside(
        "exact::http2::upgrade_that_is_passed_over",
        CURL,
        passed_over,
    ),
];

fn by_curl() {
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, _| {
            let url = format!("http://{}/page.html", apache.address());
            for _ in 0..3 {
                let fetched = curl(&["--http2"], &[&url]);
                assert_eq!((fetched[0].status, fetched[0].bytes), (200, 12));
            }
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
    assert_eq!(totals.status.get("2xx"), Some(&3), "{totals:?}");
}

/// nghttp sends the first request as an HTTP/1.1 upgrade, and four HTTP/2 requests on the same connection. On a loaded
/// machine, Apache may send GOAWAY right after the first response. So nghttp's report is the oracle, and the test opens
/// connections until one has all five requests answered.
fn by_nghttp() {
    const CONNECTIONS: usize = 100;
    let mut answered = Vec::new();
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, _| {
            let url = format!("http://{}/page.html", apache.address());
            while answered.len() < CONNECTIONS && !answered.contains(&5) {
                let report = Client::start("nghttp", &["-v", "-n", "-u", "-m", "5", &url]).finish();
                assert!(report.contains("101 Switching Protocols"), "{report}");
                answered.push(report.matches(" :status: 200").count() as u64);
            }
        },
    );
    let ends = totals.ends();
    assert_eq!(ends.answered, answered.iter().sum::<u64>(), "{ends:?}");
    assert!(answered.contains(&5), "{answered:?}");
    assert!(
        ends.answered + ends.aborted <= 5 * answered.len() as u64,
        "{ends:?}"
    );
    assert_eq!((ends.opaque, ends.excluded), (0, 0));
}

/// A server may ignore the upgrade, as Apache does for a request with a body.
fn passed_over() {
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, _| {
            let url = format!("http://{}/page.html", apache.address());
            let fetched = curl(&["--http2", "-d", "body"], &[&url; 3]);
            assert!(fetched.iter().all(|f| f.status != 0), "{fetched:?}");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
}
