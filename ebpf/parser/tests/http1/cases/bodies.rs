//! Test cases of the end of a body (RFC 9112, section 6.3).

use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK, pair};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn response(name: &'static str, response: impl AsRef<[u8]>) -> Exchange {
    pair(name, GET, response, 2)
}

fn request(name: &'static str, request: impl AsRef<[u8]>) -> Exchange {
    pair(name, request, OK, 2)
}

pub(super) fn all() -> Vec<Exchange> {
    let mut all = lengths();
    all.extend(chunks());
    all.extend(codings());
    all.extend(closes());
    all
}

fn lengths() -> Vec<Exchange> {
    let long = "x".repeat(700);
    vec![
        response("length", OK),
        response("length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        response(
            "Content-Length in lower case, without a blank",
            "HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
        ),
        response(
            "length in capitals",
            "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 5\r\n\r\nhello",
        ),
        response(
            "length between blanks",
            "HTTP/1.1 200 OK\r\nContent-Length: \t  5 \t \r\n\r\nhello",
        ),
        response(
            "Content-Length with leading zeros",
            "HTTP/1.1 200 OK\r\nContent-Length: 0000000005\r\n\r\nhello",
        ),
        response(
            "length twice",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ),
        response(
            "list of equal lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5,5\r\n\r\nhello",
        ),
        response(
            "lines that end in a newline only",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        ),
        response(
            "body of newlines",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\r\n\r\n\r\n",
        ),
        response(
            "body that looks like a response",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{OK}",
                OK.len()
            ),
        ),
        response(
            "longer body",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n{long}"),
        ),
        request(
            "request body",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        ),
        request(
            "request body of length 0",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ),
        request(
            "request body that looks like a request",
            format!(
                "PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{GET}",
                GET.len()
            ),
        ),
        request(
            "longer request body",
            format!("PUT / HTTP/1.1\r\nContent-Length: 700\r\n\r\n{long}"),
        ),
        exchange("request body that ends after the response")
            .client("POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\n0123456")
            .flying(1)
            .server("HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
            .flying(0)
            .client("789ABCDEF")
            .flying(0)
            .client(format!("GHIJ{GET}"))
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(4, 1)
            .ended(2, 1),
    ]
}

fn chunks() -> Vec<Exchange> {
    let single: String = "1\r\nx\r\n".repeat(60);
    let sized: String = [1usize, 9, 10, 15, 16, 200, 255, 256]
        .map(|n| format!("{n:x}\r\n{}\r\n", "y".repeat(n)))
        .concat();
    let many = format!("14\r\n{}\r\n", "z".repeat(20)).repeat(300);
    let extension = "e".repeat(300);
    vec![
        response("chunked", format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n")),
        response("chunked and empty", format!("{CHUNKED}0\r\n\r\n")),
        response("chunks of one byte", format!("{CHUNKED}{single}0\r\n\r\n")),
        response(
            "300 chunks in a segment",
            format!("{CHUNKED}{many}0\r\n\r\n"),
        ),
        response("chunks of many sizes", format!("{CHUNKED}{sized}0\r\n\r\n")),
        response(
            "chunk sizes in capitals, with leading zeros",
            format!("{CHUNKED}00000A\r\n0123456789\r\n000\r\n\r\n"),
        ),
        response(
            "chunk extensions",
            format!("{CHUNKED}5;a=b\r\nhello\r\n2 ; c=\"d\"\r\nhi\r\n0;last\r\n\r\n"),
        ),
        response(
            "long chunk extension",
            format!("{CHUNKED}5;{extension}\r\nhello\r\n0;{extension}\r\n\r\n"),
        ),
        response(
            "trailers",
            format!("{CHUNKED}5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n"),
        ),
        response(
            "long trailer",
            format!("{CHUNKED}5\r\nhello\r\n0\r\nA: {extension}\r\n\r\n"),
        ),
        response(
            "chunks with newlines and zeros in them",
            format!("{CHUNKED}9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"),
        ),
        request(
            "chunked request",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n",
        ),
    ]
}

fn codings() -> Vec<Exchange> {
    let coded =
        |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    vec![
        response(
            "chunked beats an earlier Content-Length",
            coded("Content-Length: 500\r\nTransfer-Encoding: chunked"),
        ),
        response(
            "chunked beats a later Content-Length",
            coded("Transfer-Encoding: chunked\r\nContent-Length: 500"),
        ),
        response(
            "chunked beats a Content-Length of 0",
            coded("Transfer-Encoding: chunked\r\nContent-Length: 0"),
        ),
        response(
            "chunked in mixed case, with blanks",
            coded("transfer-ENCODING:\t ChunKED \t "),
        ),
        response(
            "chunked as the last coding of a list",
            coded("Transfer-Encoding: gzip, chunked"),
        ),
        response(
            "chunked as the last coding of a list without blanks",
            coded("Transfer-Encoding:gzip,chunked"),
        ),
        response(
            "codings in two fields",
            coded("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        ),
        response(
            "a field like Transfer-Encoding",
            coded("Transfer-Encoding: chunked\r\nTransfer-Note: gzip"),
        ),
        exchange("a response whose last transfer coding is not chunked ends with the connection")
            .client(GET)
            .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nabcd")
            .flying(1)
            .fin()
            .flying(0)
            .ended(2, 1),
        exchange("a response whose last coding is not chunked ends with the connection")
            .client(GET)
            .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")
            .flying(1)
            .fin()
            .flying(0)
            .ended(2, 1),
    ]
}

fn closes() -> Vec<Exchange> {
    let open = exchange("a body without length ends with the server's FIN")
        .client(GET)
        .flying(1)
        .server("HTTP/1.1 200 OK\r\nServer: old\r\n\r\nhello\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .flying(1);
    let broken = |name, response: &str| exchange(name).client(GET).server(response).flying(1);
    vec![
        open.fin().flying(0).ended(2, 1),
        broken(
            "a body without length that is reset",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        )
        .ended(0, 1),
        broken("HTTP/1.0 without length", "HTTP/1.0 404 No\r\n\r\nnothing")
            .fin()
            .flying(0)
            .ended(4, 1),
        broken(
            "a body cut short by FIN",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        )
        .fin()
        .flying(0)
        .ended(0, 1),
        broken(
            "a body cut short by RST",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        )
        .ended(0, 1),
        broken(
            "chunks cut short by FIN",
            &format!("{CHUNKED}5\r\nhello\r\n"),
        )
        .fin()
        .flying(0)
        .ended(0, 1),
        broken("a head cut short by FIN", "HTTP/1.1 200 OK\r\n")
            .fin()
            .flying(0)
            .ended(0, 1),
        exchange("no answer, FIN")
            .client(GET)
            .flying(1)
            .fin()
            .flying(0)
            .ended(0, 1),
        exchange("no answer, RST").client(GET).flying(1).ended(0, 1),
    ]
}
