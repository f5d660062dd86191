//! Test cases of messages that are unusual, but that common servers and clients accept, and of messages whose end
//! cannot be found. Each has been seen in the field.

use ebb_parser::direction::Side;
use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK, pair};

/// The value of [`ebb_abi::ended::ABORTED`].
const ABORTED: usize = 0;

/// The value of [`ebb_abi::ended::OPAQUE`].
const OPAQUE: usize = 7;

pub(super) fn all() -> Vec<Exchange> {
    let mut all = methods();
    all.extend(blanks());
    all.extend(numbers());
    all.extend(statuses());
    all.extend(unbounded_responses());
    all.extend(uncertain_responses());
    all.extend(surplus_bytes());
    all.extend(expectations());
    all.extend(proxy_headers());
    all
}

fn methods() -> Vec<Exchange> {
    // One byte of each kind that a token may begin with (RFC 9110, 5.6.2).
    let methods = [
        "patch", "gEt", "!x", "~", "1", "`a|b`", "M-SEARCH", "PROXYX",
    ];
    methods
        .iter()
        .map(|method| pair("a method", format!("{method} / HTTP/1.1\r\n\r\n"), OK, 2))
        .collect()
}

fn blanks() -> Vec<Exchange> {
    let mut all = Vec::new();
    for count in [1, 4, 5, 7, 8, 9, 15, 16, 17, 31, 40, 41, 42, 64, 300] {
        for blank in [" ", "\t"] {
            let blanks = blank.repeat(count);
            all.extend([
                pair(
                    "blanks before and after a response's Content-Length",
                    GET,
                    format!("HTTP/1.1 200 OK\r\nContent-Length:{blanks}5{blanks}\r\n\r\nhello"),
                    2,
                ),
                pair(
                    "blanks before and after a request's Content-Length",
                    format!("POST / HTTP/1.1\r\nContent-Length:{blanks}5{blanks}\r\n\r\nhello"),
                    OK,
                    2,
                ),
                pair(
                    "blanks around chunked",
                    GET,
                    format!(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding:{blanks}gzip{blanks},{blanks}Chunked{blanks}\r\n\r\n\
                         2{blanks}\r\nab\r\n0\r\n\r\n"
                    ),
                    2,
                ),
                pair(
                    "blanks after chunked, in a request",
                    format!(
                        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked{blanks}\r\n\r\n2\r\nab\r\n0\r\n\r\n"
                    ),
                    OK,
                    2,
                ),
                pair(
                    "blanks at the end of a request line",
                    format!("GET / HTTP/1.1{blanks}\r\n\r\n"),
                    OK,
                    2,
                ),
            ]);
        }
    }
    all.extend([
        pair(
            "a value that continues on the next line",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
            2,
        ),
        pair(
            "a list of codings that continues on the next line",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip,\r\n\tchunked\r\nA: b\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            OK,
            2,
        ),
        pair(
            "an empty line before a status line",
            GET,
            format!("\r\n{OK}"),
            2,
        ),
        pair(
            "empty lines before an interim and a final response",
            GET,
            format!("\n\r\nHTTP/1.1 100 Continue\r\n\r\n\r\n{OK}"),
            2,
        ),
    ]);
    all
}

fn numbers() -> Vec<Exchange> {
    let zeros = "0".repeat(70);
    let mut all: Vec<_> = [14, 15, 16, 17, 18, 19, 20, 40, 60]
        .iter()
        .map(|count| {
            let zeros = "0".repeat(*count);
            pair(
                "leading zeros",
                format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}2\r\nab\r\n{zeros}\r\n\r\n"),
                format!("HTTP/1.1 200 OK\r\nContent-Length: {zeros}5\r\n\r\nhello"),
                2,
            )
        })
        .collect();
    all.extend([
        pair(
            "a list of lengths with zeros and blanks",
            GET,
            format!("HTTP/1.1 200 OK\r\nContent-Length:          {zeros}5 ,  5\r\n\r\nhello"),
            2,
        ),
        exchange("a length above 2^64")
            .client("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")
            .opaque()
            .ended(OPAQUE, 1),
        exchange("a chunk size above 2^64")
            .client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n")
            .opaque()
            .ended(OPAQUE, 1),
    ]);
    all
}

fn statuses() -> Vec<Exchange> {
    [600, 700, 799, 999]
        .iter()
        .map(|status| {
            exchange("a status above 599 counts as a server error")
                .client(GET)
                .flying(1)
                .server(format!(
                    "HTTP/1.1 {status} What\r\nContent-Length: 2\r\n\r\nno"
                ))
                .flying(0)
                .client(GET)
                .flying(1)
                .server(OK)
                .flying(0)
                .ended(5, 1)
                .ended(2, 1)
        })
        .collect()
}

/// Responses whose end is not certain: requests never add up.
fn uncertain_responses() -> Vec<Exchange> {
    let heads = [
        "Content-Length: 900\r\nTransfer-Encoding : chunked",
        "Content-Length: 5\r\nContent-Length: 9",
        "Content-Length: 5 \r\nContent-Length: 9",
        "Transfer-Encoding: x chunked",
    ];
    let response = |head| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhello");
    heads
        .iter()
        .map(|head| {
            let mut exchange = exchange("responses whose end is not certain");
            for _ in 0..5 {
                exchange = exchange
                    .client(GET)
                    .flying(1)
                    .segment(Side::Responses, response(head))
                    .flying(1);
            }
            exchange
                .client(GET)
                .flying(1)
                .segment(Side::Responses, OK)
                .flying(0)
                .ended(2, 6)
        })
        .collect()
}

/// Bytes that the server sends after a complete response do not become the beginning of the next response.
fn surplus_bytes() -> Vec<Exchange> {
    (1..16)
        .map(|length| {
            exchange("surplus bytes after a response")
                .client(GET)
                .server(OK)
                .server("!".repeat(length))
                .flying(0)
                .client(GET)
                .flying(1)
                .segment(Side::Responses, OK)
                .flying(0)
                .ended(2, 2)
        })
        .collect()
}

fn unbounded_responses() -> Vec<Exchange> {
    let no_length = "HTTP/1.1 200 OK\r\n\r\nhello";
    let mut kept = exchange("responses without a length, on a connection that the server keeps");
    for _ in 0..20 {
        kept = kept
            .client(GET)
            .flying(1)
            .segment(Side::Responses, no_length)
            .flying(1);
    }
    vec![
        kept.client(GET)
            .flying(1)
            .segment(Side::Responses, OK)
            .flying(0)
            .ended(2, 21),
        exchange("a blank before the colon of a response's Content-Length")
            .client(GET)
            .server("HTTP/1.1 404 No\r\nContent-Length : 5\r\n\r\nhello")
            .flying(1)
            .client(GET)
            .flying(1)
            .segment(Side::Responses, OK)
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(4, 1)
            .ended(2, 2),
        exchange("the response to the last request is never recognised")
            .client(GET)
            .server(no_length)
            .client(GET)
            .flying(1)
            .server("more")
            .flying(1)
            .client(GET)
            .flying(1)
            .fin()
            .flying(0)
            .ended(2, 2)
            .ended(ABORTED, 1),
        exchange("a probe takes the place of a request whose response has no end")
            .client(GET)
            .server(no_length)
            .flying(1)
            .client("GET / HTTP/1.1\r\nUser-Agent: kube-probe/1.30\r\n\r\n")
            .flying(0)
            .segment(Side::Responses, OK)
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(2, 2)
            .ended(6, 1),
        exchange("a chunk of size 0 after a complete response is no request")
            .client(GET)
            .server(OK)
            .flying(0)
            .server("0\r\n\r\n")
            .flying(0)
            .client(GET)
            .flying(1)
            .segment(Side::Responses, OK)
            .flying(0)
            .server("0\r\n\r\n")
            .fin()
            .flying(0)
            .ended(2, 2),
    ]
}

fn expectations() -> Vec<Exchange> {
    let post = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n";
    let no = "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno";
    let body = "twenty bytes of text";
    vec![
        exchange("the client leaves the body out after 417")
            .client(post)
            .flying(1)
            .server(no)
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .client(GET)
            .server(OK)
            .flying(0)
            .ended(4, 1)
            .ended(2, 2),
        exchange("the client leaves a body in chunks out after 200")
            .client("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nexpect:100-Continue\r\n\r\n")
            .flying(1)
            .server(OK)
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(2, 2),
        exchange("the client sends the body although the server has answered")
            .client(post)
            .server(no)
            .flying(0)
            .client(body)
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(4, 1)
            .ended(2, 1),
        exchange("the body after 100")
            .client(post)
            .server("HTTP/1.1 100 Continue\r\n\r\n")
            .flying(1)
            .client(body)
            .flying(1)
            .server(OK)
            .flying(0)
            .client(GET)
            .server(OK)
            .ended(2, 2),
        exchange("the body without a wait")
            .client(format!("{post}{body}{GET}"))
            .flying(2)
            .server(format!("{OK}{OK}"))
            .flying(0)
            .ended(2, 2),
    ]
}

fn proxy_headers() -> Vec<Exchange> {
    let version2 = |rest: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        header.extend((rest.len() as u16).to_be_bytes());
        header.extend(rest);
        header
    };
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let headers = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        longest.as_bytes().to_vec(),
        version2(&[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb]),
        version2(&[]),
        version2(&[b'\n'; 216]),
        version2(&[7; 3000]),
    ];
    let mut all: Vec<_> = headers
        .iter()
        .map(|header| {
            exchange("a header of the PROXY protocol")
                .client(header)
                .flying(0)
                .client(GET)
                .flying(1)
                .server(OK)
                .flying(0)
                .client([GET, GET].concat())
                .flying(2)
                .server([OK, OK].concat())
                .flying(0)
                .ended(2, 3)
        })
        .collect();
    all.extend([
        exchange("a header of the PROXY protocol and a request in one write")
            .client([&version2(&[1; 12]), GET.as_bytes()].concat())
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(2, 1),
        exchange("a header of the PROXY protocol after a request hides nothing")
            .client(GET)
            .server(OK)
            .client(version2(&[7; 20]))
            .opaque()
            .ended(2, 1)
            .ended(OPAQUE, 1),
        exchange("almost the PROXY protocol")
            .client("\r\n\r\n\0\r\nQUIX")
            .opaque()
            .ended(OPAQUE, 1),
    ]);
    all
}
