//! Test cases of connections that cannot be read: each counts as one request in flight, and is reported as opaque,
//! until a request can be recognised or the connection closes.

use ebb_parser::direction::Side;
use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK};

/// The value of [`ebb_abi::ended::EXCLUDED`].
const EXCLUDED: usize = 6;

/// The value of [`ebb_abi::ended::OPAQUE`].
const OPAQUE: usize = 7;

const HELLO: [u8; 12] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, b'\n'];

/// The client sends bytes that cannot be read. Later it sends a request.
pub(super) fn client(name: &'static str, bytes: impl AsRef<[u8]>) -> Exchange {
    resumes(
        exchange(name)
            .client(bytes)
            .opaque()
            .server("anything\r\n\r\n")
            .opaque(),
    )
}

/// The server responds with bytes that cannot be read. Later the client sends another request.
fn server(name: &'static str, bytes: impl AsRef<[u8]>) -> Exchange {
    resumes(exchange(name).client(GET).flying(1).server(bytes).opaque())
}

/// After bytes that cannot be read, counting resumes with the next request.
fn resumes(exchange: Exchange) -> Exchange {
    exchange
        .segment(Side::Requests, GET)
        .flying(1)
        .segment(Side::Responses, OK)
        .flying(0)
        .client(GET)
        .flying(1)
        .server(OK)
        .flying(0)
        .ended(2, 2)
        .ended(OPAQUE, 1)
}

/// The unreadable data counts as a start. This start has the same mark bit as a probe 64 requests earlier, and must not
/// count as excluded.
fn after_a_probe() -> Exchange {
    let probe = "GET / HTTP/1.1\r\nUser-Agent: kube-probe/1.30\r\n\r\n";
    let first = exchange("an opaque connection, 64 requests after a probe")
        .client(probe)
        .server(OK);
    (1..64)
        .fold(first, |exchange, _| exchange.client(GET).server(OK))
        .flying(0)
        .client(HELLO)
        .opaque()
        .ended(EXCLUDED, 1)
        .ended(2, 63)
        .ended(OPAQUE, 1)
}

pub(super) fn all() -> Vec<Exchange> {
    let fields = "HTTP/1.1 200 OK\r\n";
    vec![
        exchange("TLS stays opaque, also if its bytes look like a request")
            .client(HELLO)
            .opaque()
            .server([0x16, 3, 3])
            .opaque()
            .segment(Side::Requests, GET)
            .opaque()
            .ended(OPAQUE, 1),
        after_a_probe(),
        client("redis", "*1\r\n$4\r\nPING\r\n"),
        client("redis, in a line", "PING\r\n"),
        client("HTTP/0.9", "GET /\r\n"),
        client("almost HTTP/2", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"),
        client("not even HTTP/2", "PRI * HT\r\n"),
        client("zeros", [0; 100]),
        client("a carriage return that ends no line", "\rGET /\r\n\r\n"),
        client(
            "a Content-Length that is no number",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ),
        client(
            "a length below 0",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ),
        client(
            "a length and more",
            "POST / HTTP/1.1\r\nContent-Length: 5x\r\n\r\n",
        ),
        client("no length", "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n"),
        client(
            "a chunk size that is no number",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ),
        client(
            "no chunk size",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        ),
        client(
            "a request with another coding than chunked, whose end cannot be known (RFC 9112, 6.3)",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x08 and more",
        ),
        server("no status line", "hello\r\n"),
        server("no status", "HTTP/1.1 OK\r\n"),
        server("HTTP/2 from the server", "HTTP/2 200\r\n"),
        server(
            "a response's Content-Length that is no number",
            format!("{fields}Content-Length: 5;\r\n\r\nhello"),
        ),
        server(
            "a chunk that is longer than its size",
            format!("{fields}Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n"),
        ),
        exchange("the server speaks first")
            .server("220 mail ESMTP\r\n")
            .opaque()
            .client("HELO a\r\n")
            .opaque()
            .fin()
            .flying(0)
            .ended(OPAQUE, 1),
        exchange("requests before the unreadable data stay counted")
            .client(GET)
            .server(OK)
            .flying(0)
            .client(HELLO)
            .opaque()
            .ended(2, 1)
            .ended(OPAQUE, 1),
        exchange(
            "if data cannot be read, the requests in flight are aborted, except the newest one",
        )
        .client(GET.repeat(3))
        .flying(3)
        .server("hello\r\n")
        .opaque()
        .ended(0, 2)
        .ended(OPAQUE, 1),
    ]
}
