//! Every shape of a response: the counter finds its end, and does not count the time between requests.

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Files, Sample, Scripted, Then};
use ebb_fixtures::watch::{Totals, Watch};
use ebb_fixtures::{Case, Need, TestCgroup, Wire};

const EBB: &[Need] = &[Need::Ebb];
const PYTHON: &[Need] = &[Need::Ebb, Need::Tool("python3")];

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "watch::keep_alive_idle_is_not_in_flight",
        EBB,
        keep_alive_idle,
    ),
    Case::beside("watch::sized_response_counts_to_its_last_byte", EBB, sized),
    Case::beside(
        "watch::chunked_response_counts_to_its_last_byte",
        EBB,
        chunked,
    ),
    Case::beside(
        "watch::close_delimited_response_counts_to_its_close",
        EBB,
        close_delimited,
    ),
    Case::beside(
        "watch::head_has_no_body_whatever_its_length_says",
        EBB,
        head,
    ),
    Case::beside("watch::status_204_has_no_body", PYTHON, || {
        bodiless("204 No Content", "")
    }),
    Case::beside(
        "watch::status_304_has_no_body_whatever_its_length_says",
        PYTHON,
        || {
            bodiless("304 Not Modified", "Content-Length: 4096\r\n");
        },
    ),
    Case::beside("watch::status_100_is_not_the_end", EBB, continue_100),
    Case::beside(
        "watch::http_1_0_server",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("curl")],
        http_1_0,
    ),
    Case::beside(
        "watch::latency_and_status_are_reported",
        EBB,
        latency_and_status,
    ),
];

const INTERVAL: &str = "100ms";

fn keep_alive_idle() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    for _ in 0..3 {
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
    }
    let idle = watch.until("no request, but an open connection", |totals, line| {
        (
            totals.requests,
            line.requests,
            line.in_flight,
            line.connections,
        ) == (3, 0, 0, 1)
    });
    assert_eq!(idle.concurrency, 0.0);
    assert_eq!(watch.settle().completed, 3);
    drop(wire);
    watch.until("the connection is closed", |_, line| line.connections == 0);
}

/// Requests 64 KiB in four pieces at intervals of 150 ms: the last piece comes 450 ms after the first.
const DRIP: &str = "bytes=65536&drip=150";

fn sized() {
    let totals = against_oracle(|wire| {
        wire.get(&format!("/?{DRIP}"), "");
        assert_eq!(wire.response(), 200);
    });
    assert_eq!((totals.requests, totals.completed), (1, 1));
}

fn chunked() {
    let totals = against_oracle(|wire| {
        wire.get(&format!("/?chunked=1&{DRIP}"), "");
        assert!(wire.header().contains("transfer-encoding: chunked"));
        assert!(wire.to_end() > 65_536);
        // The connection must be reusable after the chunked response, so the next request uses it too.
        wire.get(&format!("/?chunked=1&{DRIP}"), "");
        assert!(wire.to_end() > 65_536);
    });
    assert_eq!((totals.requests, totals.completed), (2, 2));
}

fn close_delimited() {
    let totals = against_oracle(|wire| {
        wire.send(format!(
            "GET /?chunked=1&{DRIP} HTTP/1.0\r\nHost: test\r\n\r\n"
        ));
        let header = wire.header();
        assert!(!header.contains("transfer-encoding") && !header.contains("content-length"));
        assert_eq!(wire.to_end(), 65_536);
    });
    assert_eq!((totals.requests, totals.completed), (1, 1));
}

/// Runs `traffic` on one connection, and compares Ebb's integral with the server's integral. Returns the totals.
fn against_oracle(traffic: impl FnOnce(&mut Wire)) -> Totals {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    traffic(&mut Wire::connect(server.address()));
    let totals = watch.settle();
    let oracle = server.stats().integral;
    // The tolerance covers a few milliseconds of delay on a busy machine. If a response were counted only until its
    // first byte, nearly all of its time would be missing.
    assert!(
        (totals.integral / oracle - 1.0).abs() < 0.1,
        "integral {} s, oracle {oracle} s",
        totals.integral
    );
    totals
}

fn head() {
    let totals = on_one_connection(|wire| {
        wire.send("HEAD /?bytes=100000 HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(wire.header().contains("content-length: 100000"));
    });
    assert_eq!((totals.requests, totals.completed), (2, 2));
}

/// Runs `first`, whose response has no body, and then sends a GET on the same connection. A counter that waited for a
/// body would take the response to the GET for this body.
fn on_one_connection(first: impl FnOnce(&mut Wire)) -> Totals {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    first(&mut wire);
    watch.settle();
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    watch.settle()
}

fn bodiless(status: &str, fields: &str) {
    let cgroup = TestCgroup::new();
    let reply = format!("HTTP/1.1 {status}\r\nServer: test\r\n{fields}\r\n");
    let server = Scripted::start(&cgroup, &reply, Then::Keep);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    for requests in 1..=3 {
        wire.get("/", "");
        assert!(wire.header().contains(status));
        let totals = watch.settle();
        assert_eq!((totals.requests, totals.completed), (requests, requests));
    }
}

fn continue_100() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(wire.header().starts_with("HTTP/1.1 100 "));
    let line = watch.until("in flight for an interval after 100 Continue", |_, line| {
        line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99
    });
    assert_eq!(line.completed, 0);
    wire.send("hello");
    assert_eq!(wire.response(), 200);
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (1, 1));
    assert_eq!(totals.status.get("2xx"), Some(&1));
}

fn http_1_0() {
    let cgroup = TestCgroup::new();
    let server = Files::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let url = format!("http://{}/", server.address());
    for _ in 0..5 {
        Client::start("curl", &["-sf", &url]).finish();
    }
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (5, 5));
}

fn latency_and_status() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    for (status, count) in [(200, 3), (301, 1), (404, 2), (503, 1)] {
        for _ in 0..count {
            wire.get(&format!("/?status={status}"), "");
            assert_eq!(wire.response(), status);
        }
    }
    let totals = watch.settle();
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| totals.status.get(class));
    assert_eq!(classes, [Some(&0), Some(&3), Some(&1), Some(&2), Some(&1)]);

    wire.get("/?sleep=300", "");
    let line = watch.until("the slow one ends", |_, line| line.completed == 1);
    assert_eq!(wire.response(), 200);
    for point in ["p50", "p90", "p99"] {
        let latency = line.latency_ms[point].expect("a latency, because a request has ended");
        // 200 ms is the duration of the requests. The latency is the upper bound of a histogram bucket, so it may be
        // higher; the machine adds a delay.
        assert!((200.0..900.0).contains(&latency), "{point} = {latency} ms");
    }
}
