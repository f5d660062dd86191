//! Interim responses: 100 (Continue) and 103 (Early Hints).

use ebb_fixtures::client::{Client, curl};
use ebb_fixtures::server::{Sample, Script, Scripted, Service, Then};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{CURL, watched};

const NODE: &[Need] = &[Need::Ebb, Need::Tool("node"), Need::Tool("curl")];
const SCRIPTED: &[Need] = &[Need::Ebb, Need::Tool("python3"), Need::Tool("curl")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::early_hints_are_not_the_end", NODE, hints),
    Case::beside(
        "exact::http1::continue_to_curl_is_not_the_end",
        CURL,
        continues,
    ),
    Case::beside(
        "exact::http1::interim_and_final_head_in_one_packet",
        SCRIPTED,
        one_packet,
    ),
    Case::beside(
        "exact::http1::refused_expectation_ends_at_its_answer",
        SCRIPTED,
        refused,
    ),
];

/// Node sends three 103 responses immediately, and the final response after 800 ms.
fn hints() {
    let totals = watched(
        |cgroup| Service::start(Script::Node, cgroup),
        |node, watch| {
            let url = format!("http://{}/hints?n=3&ms=800", node.address());
            let client = Client::start("curl", &["-s", &url, &url]);
            watch.until(
                "a request is in flight for a whole interval after Early Hints",
                |_, line| line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99,
            );
            assert_eq!(client.finish(), "hintedhinted");
            assert_eq!(node.requests(), 2);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
    assert_eq!(totals.status.get("1xx"), Some(&0), "{totals:?}");
    assert!(totals.integral > 1.59, "{totals:?}");
}

fn continues() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let url = format!("http://{}/", server.address());
            let options = ["-d", "body", "-H", "Expect: 100-continue"];
            let fetched = curl(&options, &[&url, &url, &url]);
            assert!(fetched.iter().all(|f| f.status == 200));
            assert_eq!(fetched[2].connects, 0, "on one connection");
            assert_eq!(server.stats().requests, 3);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(4));
}

fn one_packet() {
    let reply = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                 HTTP/1.1 100 Continue\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let totals = watched(
        |cgroup| Scripted::start(cgroup, reply, Then::Keep),
        |server, _| {
            let url = format!("http://{}/", server.address());
            let fetched = curl(&[], &[&url, &url]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 2)));
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
}

/// The server refuses `Expect: 100-continue` with 417. The client then does not send the body, and closes the
/// connection.
fn refused() {
    let reply = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let totals = watched(
        |cgroup| Scripted::start(cgroup, reply, Then::Keep),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send(
                "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
            );
            assert_eq!(wire.response(), 417);
            // The 417 response has ended the request, although the connection is still open.
            watch.until("ended by its answer", |totals, line| {
                (totals.completed, line.in_flight, line.connections) == (1, 0, 1)
            });
        },
    );
    assert_eq!(totals.ends(), Ends::answered(1));
    assert_eq!(totals.status.get("4xx"), Some(&1), "{totals:?}");
}
