//! Test cases of streams: when each stream begins, and when it ends.

use std::ops::Range;

use ebb_parser::http2::STREAMS;
use ebb_parser_testing::{
    exchange::Exchange,
    http2::{
        frames::{END_STREAM, data, frame, headers, kind, reset, window_update},
        headers::{Field, PLAIN, block},
    },
};

use super::{OK, connection, get, ok, request};

/// The value of [`ebb_abi::ended::ABORTED`].
const ABORTED: usize = 0;

/// Returns a GOAWAY frame.
fn goaway(last: u32) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, [last.to_be_bytes(), [0; 4]].concat())
}

pub(super) fn all() -> Vec<Exchange> {
    let mut all = exchanges();
    all.extend(resets());
    all.extend(ends());
    all.extend(many());
    all
}

fn exchanges() -> Vec<Exchange> {
    let head = || headers(1, 0, block(&[OK]));
    let post = || headers(1, 0, request(&[]));
    let trailers = || {
        headers(
            1,
            END_STREAM,
            block(&[Field::Literal("grpc-status", "0", PLAIN)]),
        )
    };
    let interim = |status| headers(1, 0, block(&[Field::Named(8, status, PLAIN)]));
    vec![
        connection("a request and its response")
            .client(get(1))
            .streams(1)
            .server(head())
            .streams(1)
            .server(data(1, 0, "hel"))
            .streams(1)
            .server(data(1, END_STREAM, "lo"))
            .streams(0)
            .ended(2, 1),
        connection("a response with only a head")
            .client(get(1))
            .streams(1)
            .server(headers(1, END_STREAM, block(&[Field::Indexed(9)])))
            .streams(0)
            .ended(2, 1),
        connection("a body that ends in an empty frame")
            .client(get(1))
            .server([head(), data(1, 0, "hello")].concat())
            .streams(1)
            .server(data(1, END_STREAM, ""))
            .streams(0)
            .ended(2, 1),
        connection("the end of a request's body does not end the stream")
            .client(post())
            .streams(1)
            .client(data(1, 0, "x"))
            .streams(1)
            .client(data(1, END_STREAM, "x"))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        connection("a response before the request's body is complete")
            .client([post(), data(1, 0, "x")].concat())
            .streams(1)
            .server(ok(1))
            .streams(0)
            .server(reset(1))
            .client(data(1, END_STREAM, "x"))
            .streams(0)
            .ended(2, 1),
        connection("trailers end a response")
            .client(get(1))
            .server([head(), data(1, 0, "x")].concat())
            .streams(1)
            .server(trailers())
            .streams(0)
            .ended(2, 1),
        connection("a request's trailers do not end the stream")
            .client([post(), data(1, 0, "x"), trailers()].concat())
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        connection("a gRPC error without a body")
            .client([post(), data(1, END_STREAM, "x")].concat())
            .server(headers(
                1,
                END_STREAM,
                block(&[OK, Field::Literal("grpc-status", "12", PLAIN)]),
            ))
            .streams(0)
            .ended(2, 1),
        connection("100 and 103 before the final status")
            .client(post())
            .server(interim("100"))
            .streams(1)
            .client(data(1, END_STREAM, "x"))
            .server([interim("103"), interim("103")].concat())
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        connection("a stream in both directions, message by message")
            .client(post())
            .server(head())
            .client(data(1, 0, "a"))
            .server(data(1, 0, "b"))
            .client(data(1, 0, "a"))
            .server(data(1, 0, "b"))
            .streams(1)
            .client(data(1, END_STREAM, ""))
            .streams(1)
            .server(trailers())
            .streams(0)
            .ended(2, 1),
    ]
}

fn resets() -> Vec<Exchange> {
    vec![
        connection("the client resets a request without a response")
            .client(get(1))
            .streams(1)
            .client(reset(1))
            .streams(0)
            .ended(ABORTED, 1),
        connection("the client resets in the middle of a response")
            .client(get(1))
            .server([headers(1, 0, block(&[OK])), data(1, 0, "x")].concat())
            .streams(1)
            .client(reset(1))
            .streams(0)
            .server(data(1, 0, "what was under way"))
            .server(data(1, END_STREAM, "and the rest"))
            .streams(0)
            .ended(ABORTED, 1),
        connection("the client resets a stream that has ended")
            .client(get(1))
            .server(ok(1))
            .streams(0)
            .client(reset(1))
            .streams(0)
            .ended(2, 1),
        connection("the server refuses a request")
            .client(get(1))
            .server(frame(kind::RST_STREAM, 0, 1, 7u32.to_be_bytes()))
            .streams(0)
            .ended(ABORTED, 1),
        connection("the server resets in the middle of its response")
            .client(get(1))
            .server([headers(1, 0, block(&[OK])), data(1, 0, "x")].concat())
            .server(reset(1))
            .streams(0)
            .ended(ABORTED, 1),
        connection("both reset one stream")
            .client([get(1), reset(1)].concat())
            .server(reset(1))
            .streams(0)
            .ended(ABORTED, 1),
        connection("a reset of a stream that has not begun")
            .client(get(1))
            .client(reset(3))
            .server(reset(5))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        connection("RST_STREAM and END_STREAM on stream 0")
            .client(reset(0))
            .streams(0)
            .client(get(1))
            .server([reset(0), data(0, END_STREAM, "x")].concat())
            .server(headers(0, END_STREAM, block(&[OK])))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        connection("a new request after a reset stream")
            .client([get(1), reset(1), get(3)].concat())
            .streams(1)
            .server(ok(3))
            .streams(0)
            .ended(ABORTED, 1)
            .ended(2, 1),
        connection("200 requests, each reset immediately")
            .client(
                (0..200)
                    .map(|n| [get(n * 2 + 1), reset(n * 2 + 1)].concat())
                    .collect::<Vec<_>>()
                    .concat(),
            )
            .streams(0)
            .ended(ABORTED, 200),
    ]
}

fn ends() -> Vec<Exchange> {
    vec![
        connection("GOAWAY does not end the requests in flight")
            .client([get(1), get(3)].concat())
            .server([goaway(3), ok(1)].concat())
            .streams(1)
            .client(goaway(0))
            .server(ok(3))
            .streams(0)
            .ended(2, 2),
        connection("GOAWAY ends the streams above its last stream")
            .client((0..5).map(|n| get(n * 2 + 1)).collect::<Vec<_>>().concat())
            .streams(5)
            .server(goaway(1))
            .streams(1)
            .client([get(11), data(11, END_STREAM, "")].concat())
            .streams(1)
            .server(ok(1))
            .streams(0)
            .client(get(13))
            .streams(0)
            .ended(ABORTED, 6)
            .ended(2, 1),
        connection("GOAWAY of a server that stops slowly, then the real one")
            .client([get(1), get(3)].concat())
            .server(goaway(0x7fff_ffff))
            .streams(2)
            .client([get(5), get(7)].concat())
            .streams(4)
            .server([ok(1), goaway(5)].concat())
            .streams(2)
            .server(goaway(3))
            .streams(1)
            .server(goaway(0x7fff_ffff))
            .streams(1)
            .server(ok(3))
            .streams(0)
            .ended(ABORTED, 2)
            .ended(2, 2),
        connection("GOAWAY that refuses all streams, in the middle of a response")
            .client([get(1), get(3)].concat())
            .server([headers(1, 0, block(&[OK])), data(1, 0, "x"), goaway(0)].concat())
            .streams(0)
            .server(data(1, END_STREAM, "x"))
            .streams(0)
            .ended(ABORTED, 2),
        connection("GOAWAY with additional data, and one that is too short")
            .client([get(1), get(3)].concat())
            .server(frame(kind::GOAWAY, 0, 0, [0, 0, 0]))
            .streams(2)
            .server(frame(
                kind::GOAWAY,
                0,
                0,
                [&1u32.to_be_bytes()[..], &[0; 4], b"enhance your calm"].concat(),
            ))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(ABORTED, 1)
            .ended(2, 1),
        connection("the connection ends while streams are in flight")
            .client([get(1), get(3), get(5)].concat())
            .server([headers(1, 0, block(&[OK])), ok(3)].concat())
            .streams(2)
            .ended(ABORTED, 2)
            .ended(2, 1),
        connection("a FIN from the server aborts the requests in flight")
            .client([get(1), get(3)].concat())
            .streams(2)
            .fin()
            .streams(0)
            .client(get(5))
            .streams(0)
            .ended(ABORTED, 2),
        connection("the connection ends in the head of a request")
            .client(&get(1)[..12])
            .streams(1)
            .ended(ABORTED, 1),
        connection("the connection ends in the head of a frame")
            .client(&get(1)[..8])
            .streams(0),
    ]
}

fn many() -> Vec<Exchange> {
    let most = STREAMS as u32;
    let requests = |count: u32| {
        (0..count)
            .map(|n| get(n * 2 + 1))
            .collect::<Vec<_>>()
            .concat()
    };
    let responses = |range: Range<u32>| range.map(|n| ok(n * 2 + 1)).collect::<Vec<_>>().concat();
    let streams = || (0..100).map(|n| n * 2 + 1);
    let interleaved = (0..5)
        .flat_map(|_| [1, 3, 5])
        .map(|stream| data(stream, 0, "x"));
    vec![
        connection("a hundred at once, answered from the last to the first")
            .client(streams().map(get).collect::<Vec<_>>().concat())
            .streams(100)
            .server(
                streams()
                    .skip(50)
                    .rev()
                    .map(ok)
                    .collect::<Vec<_>>()
                    .concat(),
            )
            .streams(50)
            .server(
                streams()
                    .take(50)
                    .rev()
                    .map(ok)
                    .collect::<Vec<_>>()
                    .concat(),
            )
            .streams(0)
            .ended(2, 100),
        connection("bodies that are interleaved")
            .client([get(1), get(3), get(5)].concat())
            .server(
                [1, 3, 5]
                    .map(|stream| headers(stream, 0, block(&[OK])))
                    .concat(),
            )
            .server(interleaved.collect::<Vec<_>>().concat())
            .streams(3)
            .server(data(3, END_STREAM, "x"))
            .streams(2)
            .server([data(1, 0, "x"), data(5, END_STREAM, "")].concat())
            .streams(1)
            .server(data(1, END_STREAM, "x"))
            .streams(0)
            .ended(2, 3),
        connection("a client that skips stream identifiers")
            .client([get(5), get(101), get(0x7fff_ffff)].concat())
            .streams(3)
            .server([ok(0x7fff_ffff), ok(5), ok(101)].concat())
            .streams(0)
            .ended(2, 3),
        connection("as many streams as the connection's table can hold")
            .client(requests(most))
            .streams(u64::from(most))
            .server(responses(0..most))
            .streams(0)
            .ended(2, u64::from(most)),
        connection("more streams than the connection's table can hold")
            .client(requests(most + 3))
            .streams(u64::from(most) + 3)
            .client([reset(most * 2 + 1), reset(1)].concat())
            .streams(u64::from(most) + 1)
            .client(requests(most + 4))
            .streams(u64::from(most) + 2)
            .server(headers(most * 2 + 3, 0, block(&[OK])))
            .server(responses(1..most))
            .server(data(most * 2 + 3, END_STREAM, "x"))
            .streams(2)
            .client(get(most * 2 + 9))
            .server(responses(most + 2..most + 5))
            .streams(0)
            .client(get(most * 2 + 11))
            .server(ok(most * 2 + 11))
            .ended(ABORTED, 2)
            .ended(2, u64::from(most) + 4),
        connection("the connection ends with streams in the overflow table")
            .client(requests(most + 100))
            .server(responses(0..most + 50))
            .streams(50)
            .ended(ABORTED, 50)
            .ended(2, u64::from(most) + 50),
        connection("GOAWAY with streams in the overflow table")
            .client(requests(most + 100))
            .server(goaway(most * 2 - 21))
            .streams(u64::from(most) - 10)
            .server(responses(0..most - 10))
            .streams(0)
            .ended(ABORTED, 110)
            .ended(2, u64::from(most) - 10),
        connection("one after another")
            .client([get(1), window_update(0)].concat())
            .server(ok(1))
            .streams(0)
            .client(get(3))
            .server(headers(3, END_STREAM, block(&[Field::Indexed(13)])))
            .streams(0)
            .client(get(5))
            .server(headers(5, END_STREAM, block(&[Field::Indexed(14)])))
            .streams(0)
            .ended(2, 1)
            .ended(4, 1)
            .ended(5, 1),
    ]
}
