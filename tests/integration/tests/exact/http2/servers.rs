//! Different HTTP/2 servers and clients, with their usual behaviour.

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Apache, Nghttpd, Nginx, Script, Service};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need};

use crate::exact::watched;

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::http2::node_to_h2load",
        &[Need::Ebb, Need::Tool("node"), Need::Tool("h2load")],
        node,
    ),
    Case::beside(
        "exact::http2::nghttpd_to_nghttp_with_push",
        &[Need::Ebb, Need::Tool("nghttpd"), Need::Tool("nghttp")],
        nghttpd,
    ),
    Case::beside(
        "exact::http2::apache_to_nghttp",
        &[Need::Ebb, Need::Tool("apache2"), Need::Tool("nghttp")],
        apache,
    ),
    Case::beside(
        "exact::http2::downloads_of_100_mb",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")],
        downloads,
    ),
];

/// Sends many concurrent requests to Node, for plain responses, trailers and early hints.
fn node() {
    let totals = watched(
        |cgroup| Service::start(Script::Node2, cgroup),
        |node, _| {
            for path in ["/", "/trailers", "/ones?n=50", "/hints?n=2"] {
                let url = format!("http://{}{path}", node.address());
                let report = Client::start("h2load", &["-n", "200", "-c", "4", "-m", "25", &url]);
                let report = report.finish();
                assert!(report.contains("200 succeeded, 0 failed"), "{report}");
            }
            assert_eq!(node.requests(), 800);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(800));
}

/// nghttpd pushes a response. A pushed response belongs to no request, so it is not counted.
fn nghttpd() {
    let totals = watched(
        |cgroup| Nghttpd::start(cgroup),
        |server, _| {
            let url = format!("http://{}/page.html", server.address());
            for _ in 0..3 {
                let report = Client::start("nghttp", &["-v", "-n", &url]).finish();
                assert!(report.contains("PUSH_PROMISE"), "{report}");
            }
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
}

/// Sends two requests on one connection; one is for a page that does not exist.
fn apache() {
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, _| {
            let page = format!("http://{}/page.html", apache.address());
            let missing = format!("http://{}/missing", apache.address());
            let report = Client::start("nghttp", &["-v", "-n", &page, &missing]).finish();
            assert!(report.contains(":status: 404"), "{report}");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
    assert_eq!(totals.status.get("4xx"), Some(&1), "{totals:?}");
}

/// Downloads a large file ten times concurrently on one connection, in the frames that nginx chooses.
fn downloads() {
    let totals = watched(
        |cgroup| Nginx::start(cgroup),
        |nginx, _| {
            let url = format!("http://{}/large", nginx.http2_address());
            let report =
                Client::start("h2load", &["-n", "10", "-c", "1", "-m", "10", &url]).finish();
            assert!(report.contains("10 succeeded, 0 failed"), "{report}");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(10));
}
