//! The exchanges that are written by hand, by topic.

mod ambiguous;
mod bodies;
mod heads;
mod nothing;
mod opaque;
mod pipelines;
mod probes;
mod tunnels;
mod unusual;

use ebb_parser_testing::exchange::{Exchange, exchange};

/// The first request of most test cases.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The last response of most test cases.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Returns all cases.
pub(crate) fn all() -> Vec<Exchange> {
    [
        ambiguous::all(),
        bodies::all(),
        heads::all(),
        nothing::all(),
        opaque::all(),
        pipelines::all(),
        probes::all(),
        tunnels::all(),
        unusual::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns one request and its response, then a second pair. The second pair shows that the parser found the end of the
/// first pair exactly.
fn pair(
    name: &'static str,
    request: impl AsRef<[u8]>,
    response: impl AsRef<[u8]>,
    way: usize,
) -> Exchange {
    exchange(name)
        .client(request)
        .flying(1)
        .server(response)
        .flying(0)
        .client(GET)
        .flying(1)
        .server("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        .flying(0)
        .ended(way, 1)
        .ended(5, 1)
}
