//! Test cases of heads: where a head ends, what it may contain, and which statuses have no body.

use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK, pair};

fn request(name: &'static str, request: impl AsRef<[u8]>) -> Exchange {
    pair(name, request, OK, 2)
}

pub(super) fn all() -> Vec<Exchange> {
    let mut all = requests();
    all.extend(statuses());
    all.extend(interim());
    all
}

fn requests() -> Vec<Exchange> {
    let get = |path_length: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "p".repeat(path_length)
        )
    };
    let cookies: String = (0..4)
        .map(|n| format!("Cookie{n}: {}\r\n", "c".repeat(4070)))
        .collect();
    let fields: String = (0..300)
        .map(|n| format!("X-Field-{n}: value\r\n"))
        .collect();
    let hidden = "x".repeat(60);
    vec![
        request("keep-alive", GET),
        request("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        request("any method", "PROPFIND / HTTP/1.1\r\n\r\n"),
        request(
            "a method longer than 8 bytes",
            "VERSION-CONTROL /a HTTP/1.1\r\n\r\n",
        ),
        request("asterisk", "OPTIONS * HTTP/1.1\r\n\r\n"),
        request(
            "lines that end in a newline only",
            "GET / HTTP/1.1\nHost: a\n\n",
        ),
        request("an empty line before", format!("\r\n{GET}")),
        request(
            "empty lines before a request, with CRLF and with LF",
            format!("\r\n\n\r\n\n{GET}"),
        ),
        request("URL longer than the part of a line that is kept", get(100)),
        request("URL longer than the bytes that are loaded at once", get(400)),
        request("URL of 8 KiB", get(8192)),
        request("head of 16 KiB", format!("GET / HTTP/1.1\r\n{cookies}\r\n")),
        request(
            "head of 300 fields",
            format!("GET / HTTP/1.1\r\n{fields}\r\n"),
        ),
        request(
            "fields that begin like known fields",
            "GET / HTTP/1.1\r\nContent-Lengthy: 5\r\nContent: x\r\nK: v\r\n\r\n",
        ),
        request(
            "Content-Length inside a long value is ignored",
            format!(
                "GET / HTTP/1.1\r\nX: {hidden}Content-Length: 5\r\nY: Content-Length: 5\r\n\r\n"
            ),
        ),
        exchange("a request is in flight from its first byte; between two requests none is")
            .client("G")
            .flying(1)
            .client("ET / HTTP/1.1\r\n")
            .flying(1)
            .client("\r\n")
            .flying(1)
            .server("H")
            .flying(1)
            .server(&OK[1..OK.len() - 1])
            .flying(1)
            .server(&OK[OK.len() - 1..])
            .flying(0)
            .client("\r\n")
            .flying(0)
            .client("D")
            .flying(1)
            .ended(2, 1)
            .ended(0, 1),
        exchange("a request that begins like the HTTP/2 preface is in flight from the first byte that differs")
            .client("P")
            .flying(0)
            .client("R")
            .flying(0)
            .client("E")
            .flying(1)
            .client("VIEW / HTTP/1.1\r\n\r\n")
            .server(OK)
            .flying(0)
            .client("P")
            .flying(0)
            .client("OST")
            .flying(1)
            .ended(2, 1)
            .ended(0, 1),
        exchange("a response before the request's head is complete")
            .client("GET / HTTP/1.1\r\nUser-Agent: kube-probe/1.30\r\nX: ")
            .flying(1)
            .server("HTTP/1.1 431 Too large\r\nContent-Length: 0\r\n\r\n")
            .flying(0)
            .client("x\r\n\r\n")
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(4, 1)
            .ended(2, 1),
    ]
}

fn statuses() -> Vec<Exchange> {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    vec![
        pair(
            "HEAD",
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
            2,
        ),
        pair(
            "HEAD of a chunked resource",
            head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            2,
        ),
        pair("HEAD without a length", head, "HTTP/1.1 404 No\r\n\r\n", 4),
        pair("204", GET, "HTTP/1.1 204 No Content\r\n\r\n", 2),
        pair(
            "204 with a length",
            GET,
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            2,
        ),
        pair(
            "304 with a length",
            GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
            3,
        ),
        pair(
            "304 chunked",
            GET,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            3,
        ),
        pair(
            "404",
            GET,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            4,
        ),
        pair(
            "no reason",
            GET,
            "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n",
            5,
        ),
        pair(
            "long reason",
            GET,
            format!(
                "HTTP/1.1 301 {}\r\nContent-Length: 0\r\n\r\n",
                "r".repeat(300)
            ),
            3,
        ),
        pair(
            "long field",
            GET,
            format!(
                "HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 1\r\n\r\nx",
                "v".repeat(300)
            ),
            2,
        ),
    ]
}

fn interim() -> Vec<Exchange> {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    vec![
        pair(
            "100 and 103 before the final status",
            GET,
            format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{hints}{OK}"),
            2,
        ),
        exchange("a body after 100")
            .client("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .flying(1)
            .server("HTTP/1.1 100 Continue\r\n\r\n")
            .flying(1)
            .client("body")
            .flying(1)
            .server("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            .flying(0)
            .ended(2, 1),
        exchange("only a 103 response, then the connection ends")
            .client(GET)
            .server(hints)
            .flying(1)
            .fin()
            .flying(0)
            .ended(0, 1),
    ]
}
