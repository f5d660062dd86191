//! `Content-Length` in all its spellings, and `Transfer-Encoding`, which takes precedence over it. curl checks the
//! responses: it reuses the connection only if it has found the end of the response.

use ebb_fixtures::client::curl;
use ebb_fixtures::server::{Reply, Sample, Scripted};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::http1::styles_of_content_length_in_responses",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("curl")],
        responses,
    ),
    Case::beside(
        "exact::http1::styles_of_content_length_in_requests",
        EBB,
        requests,
    ),
    Case::beside(
        "exact::http1::fields_that_only_look_like_a_length",
        EBB,
        not_lengths,
    ),
];

/// Spellings of `Content-Length`, all with the value 5.
const STYLES: [&str; 8] = [
    "Content-Length: 5",
    "content-length: 5",
    "CONTENT-LENGTH: 5",
    "cOnTeNt-LeNgTh: 5",
    "Content-Length:5",
    "Content-Length: \t  5",
    "Content-Length: 5 \t ",
    "Content-Length: 0005",
];

fn responses() {
    let replies: Vec<_> = STYLES
        .iter()
        .map(|style| Reply::new(format!("HTTP/1.1 200 OK\r\n{style}\r\nX-A: b\r\n\r\nhello")))
        // If a response has both fields, `Transfer-Encoding` takes precedence (RFC 9112, 6.3).
        .chain([Reply::new(
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n",
        )])
        .collect();
    let totals = watched(
        |cgroup| Scripted::replies(cgroup, "", &replies),
        |server, _| {
            for (number, reply) in replies.iter().enumerate() {
                let url = format!("http://{}/{number}", server.address());
                let fetched = curl(&[], &[&url, &url]);
                let what = &reply.bytes;
                assert!(
                    fetched.iter().all(|f| (f.status, f.bytes) == (200, 5)),
                    "{what}: {fetched:?}"
                );
            }
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2 * replies.len() as u64));
}

fn requests() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for style in STYLES {
                wire.send(format!(
                    "POST / HTTP/1.1\r\nHost: test\r\n{style}\r\n\r\nGET /"
                ));
                assert_eq!(wire.response(), 200, "{style}");
            }
            assert_eq!(server.stats().requests, STYLES.len() as u64);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(STYLES.len() as u64 + 1));
}

fn not_lengths() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for field in [
                "X-Content-Length: 500",
                "Content-Length-X: 500",
                "Content-Lengt: 500",
                "X-A: Content-Length: 500",
                "X-Transfer-Encoding: chunked",
            ] {
                wire.get("/", &format!("{field}\r\n"));
                assert_eq!(wire.response(), 200, "{field}");
            }
            assert_eq!(server.stats().requests, 5);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(6));
}
