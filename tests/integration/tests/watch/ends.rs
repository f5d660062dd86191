//! Requests that begin or end in unusual ways: aborted, pipelined, or sent byte by byte.

use ebb_fixtures::server::{Sample, Scripted, Then};
use ebb_fixtures::watch::Watch;
use ebb_fixtures::{Case, Need, TestCgroup, Wire};

const EBB: &[Need] = &[Need::Ebb];

pub(super) const CASES: &[Case] = &[
    Case::beside("watch::client_abort_ends_the_request", EBB, client_abort),
    Case::beside("watch::killed_server_ends_all_requests", EBB, server_killed),
    Case::beside(
        "watch::close_without_length_or_chunks_ends_the_request",
        &[Need::Ebb, Need::Tool("python3")],
        closed_http_1_1,
    ),
    Case::beside("watch::pipelined_requests_each_count", EBB, pipelined),
    Case::beside(
        "watch::header_byte_by_byte_counts_from_the_first",
        EBB,
        byte_by_byte,
    ),
    Case::beside(
        "watch::a_request_in_a_body_is_not_one",
        EBB,
        request_in_body,
    ),
    Case::beside(
        "watch::interrupt_ends_it_and_leaves_nothing",
        EBB,
        interrupt,
    ),
];

const INTERVAL: &str = "100ms";

fn client_abort() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    wire.get("/?sleep=60000", "");
    watch.until("in flight", |_, line| line.in_flight == 1);
    drop(wire);
    watch.until("ended by the abort", |_, line| {
        (line.in_flight, line.connections) == (0, 0)
    });
    assert_eq!(watch.settle().requests, 1);
}

fn server_killed() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let wires = [(); 3].map(|()| {
        let mut wire = Wire::connect(server.address());
        wire.get("/?sleep=60000", "");
        wire
    });
    watch.until("in flight", |_, line| line.in_flight == 3);
    server.kill();
    watch.until("ended by the kill", |_, line| {
        (line.in_flight, line.connections) == (0, 0)
    });
    assert_eq!(watch.settle().requests, 3);
    drop(wires);
}

fn closed_http_1_1() {
    let cgroup = TestCgroup::new();
    let server = Scripted::start(
        &cgroup,
        "HTTP/1.1 200 OK\r\nServer: test\r\n\r\nsome text",
        Then::Close,
    );
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    for _ in 0..3 {
        let mut wire = Wire::connect(server.address());
        wire.get("/", "");
        wire.header();
        assert_eq!(wire.to_end(), "some text".len());
    }
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (3, 3));
}

fn pipelined() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    wire.send("GET /?sleep=200 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(5));
    for _ in 0..5 {
        assert_eq!(wire.response(), 200);
    }
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (5, 5));
    // All requests arrive at the same time, and the server answers them in order, so their times in flight are 0.2 +
    // 0.4 + 0.6 + 0.8 + 1.0 = 3.0 request-seconds. A loaded machine can only make this longer.
    assert!((2.95..3.6).contains(&totals.integral), "{totals:?}");
}

fn byte_by_byte() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    let (first, rest) = "GET /?sleep=1 HTTP/1.1\r\nHost: test\r\n\r\n".split_at(1);
    wire.send(first);
    watch.until("the request is in flight from its first byte", |_, line| {
        line.in_flight == 1
    });
    for byte in rest.bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.response(), 200);
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (1, 1));
}

fn request_in_body() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut wire = Wire::connect(server.address());
    let body = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let length = body.len();
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    ));
    wire.send(body);
    assert_eq!(wire.response(), 200);
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (2, 2));
}

fn interrupt() {
    let cgroup = TestCgroup::new();
    let watch = Watch::start(&cgroup, INTERVAL, &[]);
    let remains = watch.remains();
    assert!(
        remains.programs() > 0,
        "the loaded programs of `ebb watch` must be listed"
    );
    let end = watch.interrupt();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    remains.assert_gone();
}
