//! A fuzz target: any bytes from a server, read as HTTP/1 responses. However the bytes are cut, as many responses must
//! end, and with the same statuses, as `httparse` finds.

use ebb_abi::ended;

use super::Target;
use crate::{
    exchange::{Exchange, exchange},
    http1::{Asked, End, responses},
    segments::Piece,
};

pub(super) const TARGET: Target = Target {
    name: "http1_responses",
    run,
    seeds,
};

/// Maximum number of requests that are sent before the responses. The second input byte has two bits for each request,
/// which select its kind.
const ASKED: usize = 4;

/// Number of bytes of the longest packet. One run of every program parses such a packet completely.
const LONGEST: usize = 500;

/// Runs the target. The first byte is the length of the pieces, the second byte selects the requests, and the other
/// bytes are the server's stream.
fn run(bytes: &[u8]) {
    let [piece, asked, stream @ ..] = bytes else {
        return;
    };
    let asked: Vec<Asked> = (0..ASKED)
        .filter_map(|index| match asked >> (index * 2) & 3 {
            0 => None,
            1 => Some(Asked::Plain),
            2 => Some(Asked::Head),
            _ => Some(Asked::Connect),
        })
        .collect();
    let told = asked.iter().fold(exchange("any responses"), |told, asked| {
        told.client(match asked {
            Asked::Plain => "GET / HTTP/1.1\r\n\r\n",
            Asked::Head => "HEAD / HTTP/1.1\r\n\r\n",
            Asked::Connect => "CONNECT a HTTP/1.1\r\n\r\n",
        })
    });
    let exchange: Exchange = told.server(stream).unjudged();
    let whole = exchange.play_in(&[Piece::of(LONGEST)]);
    for length in [1, usize::from(*piece).max(1)] {
        let cut = exchange.play_in(&[Piece::of(length)]);
        if whole.resumed + cut.resumed == 0 {
            assert_eq!(cut, whole, "in pieces of {length}");
        }
    }
    let (complete, end) = responses(&asked, stream);
    if matches!(end, End::Between | End::Within)
        && whole.ended[ended::OPAQUE] == 0
        && whole.resumed == 0
    {
        let mut ended = [0; ended::WAYS];
        for status in &complete {
            ended[usize::from(status / 100).min(5)] += 1;
        }
        ended[ended::ABORTED] = (asked.len() - complete.len()) as u64;
        assert_eq!(whole.ended, ended, "{end:?}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let seeds: [(u8, &[u8]); 10] = [
        (0b0101, b"\r\nHTTP/1.1 999 What\r\nContent-Length:          05\t \r\n\r\nhello\nHTTP/1.1 299\r\nContent-Length : 1\r\n\r\n"),
        (0b0101, b"HTTP/1.1 200 OK\r\nTransfer-Encoding:   x\r\n , chunked  \r\n\r\n0000000000000000f  \r\n0123456789abcde\r\n0\r\n\r\n"),
        (0b0101, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.0 404 No\r\nContent-Length: 0\r\n\r\n"),
        (0b0101, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 \r\n\r\n"),
        (0b0110, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nHTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n"),
        (0b0001, b"HTTP/1.1 503\r\nTransfer-Encoding: gzip,chunked\r\n\r\nf;x\r\n0123456789abcde\r\n0\r\nA: b\r\n\r\n"),
        (0b0001, b"HTTP/1.0 200 OK\r\n\r\nto the end"),
        (0b0011, b"HTTP/1.1 200 OK\r\n\r\ntunnel"),
        (0b0101, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        (0b0000, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\0\x04\x01\0\0\0\0"),
    ];
    seeds
        .iter()
        .map(|(asked, seed)| [&[7, *asked], *seed].concat())
        .collect()
}
