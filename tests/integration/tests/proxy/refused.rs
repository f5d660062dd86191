//! Invalid requests, and requests that two HTTP parsers could read differently (request smuggling): refused with an
//! error status, and never forwarded.

use std::time::{Duration, Instant};

use ebb_fixtures::proxy::TestProxy;
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need, TestCgroup, Wire};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "proxy::malformed_is_refused_and_not_passed_on",
        &[Need::Cgroup],
        malformed,
    ),
    Case::beside(
        "proxy::slow_headers_are_not_waited_for",
        &[Need::Cgroup],
        slow,
    ),
    Case::new("proxy::refusals_take_no_memory", &[Need::Cgroup], memory),
];

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}")
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

/// Returns invalid requests, each with the status code that must refuse it.
fn requests() -> Vec<(u16, String)> {
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let long = "x".repeat(70_000);
    vec![
        (
            400,
            post(
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                smuggled,
            ),
        ),
        (
            400,
            post(
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                smuggled,
            ),
        ),
        (
            400,
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
                smuggled,
            ),
        ),
        (
            400,
            post(
                "transfer-encoding : chunked\r\ncontent-length: 4\r\n",
                smuggled,
            ),
        ),
        (
            400,
            post(
                "x: y\r\n transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                smuggled,
            ),
        ),
        (400, post("x: y\ntransfer-encoding: chunked\r\n", smuggled)),
        (400, post("x: y\rtransfer-encoding: chunked\r\n", smuggled)),
        (400, post("transfer-encoding: \u{b}chunked\r\n", smuggled)),
        (
            501,
            post("transfer-encoding: identity, chunked\r\n", smuggled),
        ),
        (
            400,
            post("content-length: 1\r\ncontent-length: 5\r\n", smuggled),
        ),
        (400, post("content-length: 5, 5\r\n", smuggled)),
        (400, post("content-length: +5\r\n", smuggled)),
        (400, post("content-length: 5 5\r\n", smuggled)),
        (
            400,
            post(
                "transfer-encoding: chunked\r\n",
                "5;\0\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        (
            400,
            post(
                "transfer-encoding: chunked\r\n",
                "0x5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        (
            400,
            post(
                "transfer-encoding: chunked\r\n",
                "5\r\nhello!!\r\n0\r\n\r\n",
            ),
        ),
        (
            400,
            post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n"),
        ),
        (400, get("x: \0\r\n")),
        (400, get("host: b\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/3.0\r\nhost: a\r\n\r\n".to_owned()),
        (400, "GET  / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        (
            400,
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\n".to_owned(),
        ),
        (431, get(&format!("x: {long}\r\n"))),
        (431, get(&"x: y\r\n".repeat(200))),
        (
            501,
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n".to_owned(),
        ),
    ]
}

/// Sends a request and returns the status code of the response. There must be exactly one response.
#[track_caller]
fn refused(proxy: &TestProxy, request: &str) -> u16 {
    let mut wire = Wire::connect(proxy.address());
    wire.send(request);
    let header = wire.header();
    let length = header
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    wire.take(length);
    assert_eq!(wire.drain(), 0, "more after {header}");
    header
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status")
}

fn malformed() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let mut proxy = TestProxy::of(sample.address(), &[]);
    let before = sample.stats().requests;
    let requests = requests();
    for (status, request) in &requests {
        assert_eq!(refused(&proxy, request), *status, "{request:.200?}");
    }
    assert_eq!(sample.stats().requests, before, "requests at the server");
    let counts = proxy.state().refused;
    assert_eq!(
        counts["malformed"] + counts["header-too-large"] + counts["unsupported"],
        requests.len() as u64,
        "{counts:?}"
    );
}

fn slow() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let before = sample.stats().requests;
    let mut proxy = TestProxy::of(sample.address(), &["--header-timeout", "300ms"]);
    let began = Instant::now();
    let mut wires: Vec<_> = (0..50).map(|_| Wire::connect(proxy.address())).collect();
    for wire in &mut wires {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ");
    }
    for wire in &mut wires {
        let header = wire.header();
        assert!(header.starts_with("HTTP/1.1 408 "), "{header}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(sample.stats().requests, before);
    assert_eq!(proxy.state().refused["header-too-slow"], 50);
}

/// The maximum growth of memory, in MiB. It allows for the pages that the first connections use.
const GROWTH: f64 = 10.0;

fn memory() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let proxy = TestProxy::of(sample.address(), &[]);
    let requests = requests();
    let round = || {
        for (_, request) in &requests {
            refused(&proxy, request);
        }
    };
    round();
    let before = proxy.memory();
    for _ in 0..20 {
        round();
    }
    let after = proxy.memory();
    assert!(after - before < GROWTH, "{before} to {after} MiB");
}
