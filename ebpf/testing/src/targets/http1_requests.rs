//! A fuzz target: any bytes from a client, read as HTTP/1 requests. However the bytes are cut, as many requests must
//! begin as `httparse` finds. After bytes that cannot be read, only the beginnings of segments are examined, so that
//! the counts may depend on the cut.

use super::Target;
use crate::{
    exchange::{Exchange, exchange},
    http1::{End, requests},
    segments::Piece,
};

pub(super) const TARGET: Target = Target {
    name: "http1_requests",
    run,
    seeds,
};

/// Number of bytes of the longest packet. One run of every program parses such a packet completely.
const LONGEST: usize = 500;

/// Runs the target. The first byte is the length of the pieces; the other bytes are the client's stream.
fn run(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let exchange: Exchange = exchange("any requests").client(stream).unjudged();
    let whole = exchange.play_in(&[Piece::of(LONGEST)]);
    for length in [1, usize::from(*piece).max(1)] {
        let cut = exchange.play_in(&[Piece::of(length)]);
        if whole.resumed + cut.resumed == 0 {
            assert_eq!(cut, whole, "in pieces of {length}");
        }
    }
    let (begun, end) = requests(stream);
    // Bytes that cannot be parsed make the connection opaque: then the number of requests is not compared.
    if end != End::Unknown && whole.ended[ebb_abi::ended::OPAQUE] == 0 && whole.resumed == 0 {
        assert_eq!(whole.started, begun, "{end:?}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 14] = [
        b"patch / HTTP/1.1 \r\nContent-Length:         000000000000000000000003  , 3\r\n\r\nabc!x / HTTP/1.1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip ,\r\n\tchunked    \r\n\r\n00000000000000003  ;a\r\nabc\r\n0\r\n\r\nGET",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length:\r\n 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c123456789abcGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics?x HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length:  3\t\r\n\r\nabcHEAD / HTTP/1.1\n\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\nGET",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nUser-Agent: kube-probe/1.30\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nK-Network-Probe: queue\r\n\r\n",
        b"GET /a-path-of-forty-bytes-which-is-the-most HTTP/1.1\r\nK-Kubelet-Probe: x\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"VERSION-CONTROL /a HTTP/1.1\r\nContent-Length: 0\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ];
    seeds.iter().map(|seed| [b"\x07", *seed].concat()).collect()
}
