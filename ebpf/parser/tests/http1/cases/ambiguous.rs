//! Test cases of requests that servers understand differently. A client could hide a request in the bytes on which they
//! disagree, so the connection becomes opaque. Each form was answered with another number of responses by one of nginx,
//! Apache, HAProxy, Node, Go, and the servers of Python. A form on which they agree is counted exactly.

use ebb_parser_testing::exchange::Exchange;

use super::{GET, OK, opaque, pair};

/// Heads of requests whose end is not certain.
const HEADS: &[(&str, &str)] = &[
    (
        "two lengths",
        "HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 35\r\n\r\n",
    ),
    (
        "two lengths, the second one unusual",
        "HTTP/1.1\r\nContent-Length: 5\r\nContent-Length:          35\r\n\r\n",
    ),
    (
        "two lengths, the first one unusual",
        "HTTP/1.1\r\nContent-Length: 5 \r\nContent-Length: 35\r\n\r\n",
    ),
    (
        "two lengths in a list",
        "HTTP/1.1\r\nContent-Length: 5, 35\r\n\r\n",
    ),
    (
        "a list of an empty length",
        "HTTP/1.1\r\nContent-Length: 5,\r\n\r\n",
    ),
    ("two numbers", "HTTP/1.1\r\nContent-Length: 5 35\r\n\r\n"),
    (
        "two numbers on two lines",
        "HTTP/1.1\r\nContent-Length: 5\r\n 35\r\n\r\n",
    ),
    (
        "a length with a sign",
        "HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
    ),
    (
        "a length and something",
        "HTTP/1.1\r\nContent-Length: 5 x\r\n\r\n",
    ),
    (
        "a blank before the colon of a length",
        "HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
    ),
    (
        "a blank before the colon of a coding",
        "HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n",
    ),
    (
        "a coding on HTTP/1.0",
        "HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "a coding on HTTP/1.0 with a blank behind it",
        "HTTP/1.0 \r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "two codings without a comma",
        "HTTP/1.1\r\nTransfer-Encoding: x chunked\r\n\r\n",
    ),
    (
        "a form feed for a comma",
        "HTTP/1.1\r\nTransfer-Encoding: x\x0cchunked\r\n\r\n",
    ),
    (
        "a coding that goes on on the next line",
        "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n x\r\n\r\n",
    ),
    (
        "a coding that is not chunked at the end",
        "HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    ),
    (
        "a lone carriage return at the end of the head",
        "HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
    ),
    (
        "a lone carriage return at the end of the trailers",
        "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rX: y\r\n\r\n",
    ),
    (
        "no line end after a chunk",
        "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx0;FFFF\r\n\r\n",
    ),
];

pub(super) fn all() -> Vec<Exchange> {
    let mut all = Vec::new();
    let long = "x".repeat(300);
    for (name, head) in HEADS {
        all.push(opaque::client(name, format!("POST / {head}")));
        all.push(opaque::client(name, format!("POST /{long} {head}")));
    }
    for head in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        all.push(opaque::client(
            "CONNECT with a body",
            format!("CONNECT a:443 HTTP/1.1\r\n{head}"),
        ));
    }
    all.extend(certain(&long));
    all
}

/// Requests that look like the ones above, but whose end is certain.
fn certain(long: &str) -> Vec<Exchange> {
    let mut all = Vec::new();
    // Other names than those of the fields: all servers ignore them.
    for field in [
        "Content\rLength: 30",
        "Content-Length\x1a 30",
        "Content-Lengthx: 30",
        "Transfer\rEncoding: chunked",
        "Transfer-Encoding\x1a chunked",
        "Transfer-Encodings: chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{field}\r\n\r\n");
        all.push(pair("a name that only looks like it", request, OK, 2));
    }
    for lengths in [
        "5\r\nContent-Length: 5",
        "5 \r\nContent-Length:  05",
        "5, 5 ,\t5",
        "5\r\n , 5",
    ] {
        for target in ["/", long] {
            let request =
                format!("POST {target} HTTP/1.1\r\nContent-Length: {lengths}\r\n\r\nhello");
            all.push(pair("equal lengths", request, OK, 2));
        }
    }
    for target in ["/", long] {
        let request = format!("POST {target} HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
        all.push(pair("a length on HTTP/1.0", request, OK, 2));
        let request = format!(
            "POST {target} HTTP/1.1\r\nTransfer-Encoding: gzip ,\tchunked\r\nX: 0\r\n\r\n0\r\n\r\n"
        );
        all.push(pair("codings", request, OK, 2));
    }
    let request = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n";
    all.push(pair("a lone newline after a chunk", request, OK, 2));
    for fields in [
        "Content-Length: 9\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 9",
        "Transfer-Encoding:  chunked \r\nContent-Length: 9 ",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        all.push(pair("a length beside a coding", request, OK, 2));
    }
    for start in ["\r", "\r\r", "\n\r\r\n\r"] {
        all.push(pair(
            "lone carriage returns before a request",
            format!("{start}{GET}"),
            OK,
            2,
        ));
    }
    for request in [
        "PROXY / HTTP/1.1\r\n\r\n",
        "PROXY x HTTP/1.0\r\n\r\n",
        "PROXY T HTTP/1.1\r\n\r\n",
    ] {
        all.push(pair("the method PROXY", request, OK, 2));
    }
    all.push(pair(
        "CONNECT without a body",
        "CONNECT a:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
        4,
    ));
    all
}
