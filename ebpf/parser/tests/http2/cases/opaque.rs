//! Test cases of connections that cannot be read: each counts as one request in flight until it closes, and is reported
//! as opaque.

use ebb_parser_testing::{
    exchange::{Exchange, exchange},
    http2::{
        PREFACE,
        frames::{END_STREAM, headers, settings},
    },
};

use super::{connection, get, ok};

/// The value of [`ebb_abi::ended::OPAQUE`].
const OPAQUE: usize = 7;

/// The value of [`ebb_abi::ended::ABORTED`].
const ABORTED: usize = 0;

pub(super) fn all() -> Vec<Exchange> {
    vec![
        connection("an HPACK integer with too many bytes")
            .client(get(1))
            .streams(1)
            .client(headers(
                3,
                END_STREAM,
                [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ))
            .opaque()
            .ended(ABORTED, 1)
            .ended(OPAQUE, 1),
        exchange("HTTP/2 after an HTTP/1 request without a response")
            .client("GET / HTTP/1.1\r\n\r\n")
            .flying(1)
            .client([PREFACE.as_slice(), &settings()].concat())
            .opaque()
            .client(get(1))
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/2 from the client, HTTP/1 from the server")
            .client([PREFACE.as_slice(), &settings()].concat())
            .flying(0)
            .server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .opaque()
            .client("GET / HTTP/1.1\r\n\r\n")
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/1 behind the first line of the preface")
            .client("PRI * HTTP/2.0\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            .opaque()
            .server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/2 that does not begin with SETTINGS")
            .client([PREFACE.as_slice(), &get(1)].concat())
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/1 from the client, HTTP/2 from the server")
            .client("GET / HTTP/1.1\r\n\r\n")
            .flying(1)
            .server([settings(), ok(1), ok(1)].concat())
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/2 from the server, another protocol from the client")
            .server(settings())
            .flying(0)
            .client("\x16\x03\x01")
            .opaque()
            .server(ok(1))
            .opaque()
            .ended(OPAQUE, 1),
        exchange("HTTP/2 from the server, HTTP/1 from the client")
            .server(settings())
            .flying(0)
            .client("GET / HTTP/1.1\r\n\r\n")
            .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .opaque()
            .ended(OPAQUE, 1),
    ]
}
