//! Test cases of probes and excluded paths. Such a request is counted as excluded, and in no other way.

use ebb_parser_testing::{
    EXCLUDED as PATHS,
    exchange::{Exchange, exchange},
};

use super::{GET, OK, pair};

/// The value of [`ebb_abi::ended::EXCLUDED`].
const EXCLUDED: usize = 6;

fn excluded(name: &'static str, request: impl AsRef<[u8]>) -> Exchange {
    answered(name, request, OK)
}

fn answered(name: &'static str, request: impl AsRef<[u8]>, response: &str) -> Exchange {
    let (all, last) = (request.as_ref(), request.as_ref().len() - 1);
    exchange(name)
        .client(&all[..last])
        .flying(1)
        .client(&all[last..])
        .flying(0)
        .server(response)
        .flying(0)
        .client(GET)
        .flying(1)
        .server(OK)
        .flying(0)
        .ended(EXCLUDED, 1)
        .ended(2, 1)
}

fn counted(name: &'static str, request: impl AsRef<[u8]>) -> Exchange {
    pair(name, request, OK, 2)
}

pub(super) fn all() -> Vec<Exchange> {
    let mut all = by_field();
    all.extend(by_path());
    all
}

fn by_field() -> Vec<Exchange> {
    let late = format!(
        "GET / HTTP/1.1\r\nCookie: {}\r\nUser-Agent: kube-probe/1.30\r\n\r\n",
        "c".repeat(2048)
    );
    vec![
        excluded(
            "kubelet",
            "GET /ready HTTP/1.1\r\nHost: 10.0.0.1:80\r\nUser-Agent: kube-probe/1.30\r\n\r\n",
        ),
        excluded(
            "kubelet, recognised by the field K-Kubelet-Probe",
            "GET / HTTP/1.1\r\nK-Kubelet-Probe: queue\r\n\r\n",
        ),
        excluded(
            "Knative",
            "GET / HTTP/1.1\r\nHost: a\r\nk-network-probe: queue\r\nX: y\r\n\r\n",
        ),
        excluded(
            "the field that marks a probe, after 2 KiB of the head",
            late,
        ),
        excluded(
            "behind a body's length",
            "POST / HTTP/1.0\r\nContent-Length: 0\r\nK-Network-Probe: x\r\n\r\n",
        ),
        counted(
            "another agent",
            "GET / HTTP/1.1\r\nUser-Agent: kube-prober\r\nUser-Agenda: kube-probe/1\r\n\r\n",
        ),
        counted(
            "a user agent that contains kube-probe",
            "GET / HTTP/1.1\r\nUser-Agent: not kube-probe/1.30\r\n\r\n",
        ),
        counted(
            "fields that begin like those of probes",
            "GET / HTTP/1.1\r\nK-Network-Probes: 1\r\nK-Kubelet: x\r\n\r\n",
        ),
        counted(
            "a probe's field name inside a long value",
            format!(
                "GET / HTTP/1.1\r\nX: {}K-Network-Probe: x\r\n\r\n",
                "x".repeat(53)
            ),
        ),
    ]
}

fn by_path() -> Vec<Exchange> {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let longest = PATHS[2];
    vec![
        excluded("excluded path", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
        excluded(
            "excluded path longer than 8 bytes",
            "GET /health/live HTTP/1.1\r\n\r\n",
        ),
        excluded(
            "longest excluded path",
            format!("OPTIONS {longest} HTTP/1.1\r\n\r\n"),
        ),
        excluded(
            "longest excluded path with a query",
            format!("GET {longest}?a=b HTTP/1.1\r\n\r\n"),
        ),
        excluded(
            "excluded path with a query",
            "POST /metrics?name=a HTTP/1.1\r\n\r\n",
        ),
        excluded(
            "excluded path with a long query",
            format!("GET /metrics?{} HTTP/1.1\r\n\r\n", "q".repeat(500)),
        ),
        answered(
            "excluded path by HEAD",
            "HEAD /metrics HTTP/1.1\r\n\r\n",
            head,
        ),
        exchange("excluded path with a body")
            .client("POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo")
            .flying(0)
            .client("dy")
            .server(OK)
            .flying(0)
            .ended(EXCLUDED, 1),
        exchange("excluded and aborted")
            .client("GET /metrics HTTP/1.1\r\n\r\n")
            .flying(0)
            .ended(EXCLUDED, 1),
        exchange("excluded, with a body that ends with the connection")
            .client("GET /metrics HTTP/1.1\r\n\r\n")
            .server("HTTP/1.1 200 OK\r\n\r\nhello")
            .fin()
            .flying(0)
            .ended(EXCLUDED, 1),
        exchange("excluded, with an unreadable response")
            .client("GET /metrics HTTP/1.1\r\n\r\n")
            .flying(0)
            .server("hello\r\n")
            .flying(0)
            .fin()
            .flying(0)
            .ended(EXCLUDED, 1),
        counted("another path", "GET /metric HTTP/1.1\r\n\r\n"),
        counted("a path below it", "GET /metrics/a HTTP/1.1\r\n\r\n"),
        counted(
            "a path that begins with the longest excluded path",
            format!("GET {longest}s HTTP/1.1\r\n\r\n"),
        ),
        counted(
            "an excluded path in the query",
            "GET /a?/metrics HTTP/1.1\r\n\r\n",
        ),
        counted(
            "an excluded path in a URL that names a host",
            "GET http://a/metrics HTTP/1.1\r\n\r\n",
        ),
    ]
}
