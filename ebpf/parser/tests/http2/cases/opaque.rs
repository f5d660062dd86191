//! Test cases of connections that cannot be read: each counts as one request in flight until it closes, and is reported
//! as opaque.

use ebb_parser::http2::STREAMS;
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
    let most = STREAMS as u32;
    let requests = |count: u32| {
        let requests = (0..count).map(|n| get(n * 2 + 1));
        requests.collect::<Vec<_>>().concat()
    };
    vec![
        connection("as many streams as the table can hold")
            .client(requests(most))
            .streams(u64::from(most))
            .server(
                (0..most)
                    .map(|n| ok(n * 2 + 1))
                    .collect::<Vec<_>>()
                    .concat(),
            )
            .streams(0)
            .ended(2, u64::from(most)),
        connection("one stream more than the table can hold")
            .client(requests(most))
            .streams(u64::from(most))
            .client(get(most * 2 + 1))
            .opaque()
            .server(ok(1))
            .opaque()
            .client([get(most * 2 + 3)].concat())
            .opaque()
            .ended(ABORTED, u64::from(most) - 1)
            .ended(OPAQUE, 1),
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
