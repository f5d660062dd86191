//! Tests with arbitrary bytes, in both directions, at any sequence number. The parsers must not panic, the counts must
//! be consistent after every step (see `ebb_parser_testing::ledger`), and no request may remain in flight after the
//! close.

use ebb_parser::direction::{Segment, Side};
use ebb_parser_testing::wire::Wire;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::shared::config;

/// Returns bytes, many of them meaningful in HTTP.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = select(vec![
        "GET / HTTP/1.1\r\n",
        "GET /metrics HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\n\r\n",
        "CONNECT a HTTP/1.1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 9223372036854775807\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "K-Network-Probe: x\r\n",
        "fffffffffffffff\r\n",
        "1\r\nx\r\n",
        "0\r\n\r\n",
        "\r\n",
        "\n",
        "\r",
    ]);
    let part = prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..80),
        1 => vec(select(b"GH \r\n:;,0123456789abcdef".to_vec()), 0..300),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

#[derive(Debug, Clone)]
struct Arrival {
    side: Side,
    /// Distance of the first byte from the next expected byte of the direction.
    ahead: u32,
    bytes: Vec<u8>,
    fin: bool,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let ahead = prop_oneof![
        12 => Just(0),
        1 => 0..400u32,
        1 => (0..400u32).prop_map(u32::wrapping_neg),
        1 => any::<u32>(),
    ];
    let arrival = (
        select(vec![Side::Requests, Side::Responses]),
        ahead,
        bytes(),
        prop::bool::weighted(0.03),
    )
        .prop_map(|(side, ahead, bytes, fin)| Arrival {
            side,
            ahead,
            bytes,
            fin,
        });
    vec(arrival, 0..40)
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn nothing_breaks_the_count(arrivals in arrivals(), first: [u32; 2]) {
        let mut wire = Wire::open(first[0], first[1]);
        for Arrival { side, ahead, bytes, fin } in arrivals {
            wire.ledger.pass(1_000);
            let first = wire.next(side).wrapping_add(ahead);
            wire.deliver(side, first, &bytes, if fin { Segment::FIN } else { 0 });
        }
        wire.close();
    }
}
