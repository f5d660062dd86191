//! Pipelined requests: a client sends them without waiting for earlier responses.

use std::time::{Duration, Instant};

use ebb_fixtures::server::{Nginx, Sample};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

const NGINX: &[Need] = &[Need::Ebb, Need::Tool("nginx")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::sixty_four_pipelined", EBB, sixty_four),
    Case::beside("exact::http1::five_hundred_pipelined", NGINX, five_hundred),
    Case::beside(
        "exact::http1::bodiless_answers_in_a_pipeline",
        NGINX,
        bodiless,
    ),
    Case::beside(
        "exact::http1::pipelined_uploads_in_odd_pieces",
        EBB,
        uploads,
    ),
];

/// All 64 requests are in flight at the same time, and are answered in order. Each request is in flight until the
/// client receives its response, a moment after the server has sent the response.
fn sixty_four() {
    let mut waited = Duration::ZERO;
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            let begun = Instant::now();
            wire.send("GET /?sleep=20 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(64));
            for _ in 0..64 {
                assert_eq!(wire.response(), 200);
                waited += begun.elapsed();
            }
            watch.settle();
            assert_eq!(server.stats().requests, 64);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(65));
    let waited = waited.as_secs_f64();
    assert!(
        (waited * 0.97..waited * 1.01).contains(&totals.integral),
        "the integral must be about {waited} request-seconds: {totals:?}"
    );
}

/// Sends 500 requests in one write: more requests than the counter can store separately. nginx accepts a pipeline of
/// any length.
fn five_hundred() {
    let totals = watched(
        |cgroup| Nginx::start(cgroup),
        |nginx, _| {
            let before = nginx.requests();
            let mut wire = Wire::connect(nginx.address());
            wire.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(500));
            for _ in 0..500 {
                assert_eq!(wire.response(), 200);
            }
            assert_eq!(nginx.requests() - before, 501);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(502));
}

/// Responses to HEAD and responses with status 304 announce the length of a body that they do not have. A counter that
/// waited for this body would take the following responses for it.
fn bodiless() {
    let since = "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT\r\n";
    let one_of_each: String = [
        ("HEAD", "/large", ""),
        ("GET", "/", ""),
        ("GET", "/204", ""),
        ("GET", "/page.html", since),
        ("HEAD", "/page.html", since),
        ("HEAD", "/204", ""),
        ("GET", "/page.html", ""),
    ]
    .map(|(method, path, fields)| format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
    .concat();
    let totals = watched(
        |cgroup| Nginx::start(cgroup),
        |nginx, watch| {
            let mut wire = Wire::connect(nginx.address());
            wire.send(one_of_each.repeat(8));
            for _ in 0..8 {
                assert!(wire.header().contains("Content-Length: 100000000"));
                assert_eq!(wire.response(), 200);
                for status in ["204", "304", "304", "204"] {
                    let header = wire.header();
                    assert!(
                        header.starts_with(&format!("HTTP/1.1 {status}")),
                        "{header}"
                    );
                }
                assert_eq!(wire.response(), 200);
            }
            watch.until("all seen", |totals, _| totals.completed == 8 * 7);
            assert_eq!(nginx.requests(), 8 * 7 + 1, "and one that asks");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(8 * 7 + 1));
    assert_eq!(totals.status.get("3xx"), Some(&16), "{totals:?}");
}

/// Sends bodies whose bytes look like requests, in writes that end in the middle of a message.
fn uploads() {
    let body = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let all = request.repeat(60);
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            // The piece lengths are prime numbers, so that the cuts fall on every position of the request.
            for piece in [7, 61, 997] {
                let mut wire = Wire::connect(server.address());
                for part in all.as_bytes().chunks(piece) {
                    wire.send(part);
                }
                for _ in 0..60 {
                    assert_eq!(wire.response(), 200);
                }
            }
            assert_eq!(server.stats().requests, 180);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(181));
}
