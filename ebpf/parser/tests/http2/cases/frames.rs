//! Test cases of frames: those that can carry a header block, and those that the parser ignores.

use ebb_parser_testing::{
    exchange::Exchange,
    http2::{
        frames::{
            ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY, continued, data, frame, headers, kind,
            padded, ping, settings, settings_ack, window_update,
        },
        headers::{Field, HUFFMAN, INSERT, PLAIN, Sender, block},
    },
};

use super::{GET, OK, connection, get, ok, request};

pub(super) fn all() -> Vec<Exchange> {
    let mut all = heads();
    all.extend(continuations());
    all.extend(others());
    all
}

/// The payload of a PRIORITY frame: an exclusive dependency on stream 3, and a weight.
const WEIGHT: [u8; 5] = [0x80, 0, 0, 3, 15];

fn prefixed(block: &[u8]) -> Vec<u8> {
    [WEIGHT.as_slice(), block].concat()
}

fn heads() -> Vec<Exchange> {
    let answered = |name, request: Vec<u8>| {
        connection(name)
            .client(request)
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1)
    };
    let fields = request(&[]);
    let padded_data =
        |padding, flags| frame(kind::DATA, PADDED | flags, 1, padded(b"hello", padding));
    vec![
        answered("padding", headers(1, PADDED, padded(&fields, 20))),
        answered(
            "padding of no length",
            headers(1, PADDED, padded(&fields, 0)),
        ),
        answered(
            "padding of 255 bytes",
            headers(1, PADDED, padded(&fields, 255)),
        ),
        answered("a priority", headers(1, PRIORITY, prefixed(&fields))),
        answered(
            "a priority and padding",
            headers(1, PRIORITY | PADDED, padded(&prefixed(&fields), 9)),
        ),
        answered(
            "the reserved bit of a stream's number",
            headers(1 | 1 << 31, END_STREAM, &fields),
        ),
        answered(
            "a cookie of 4 KiB",
            headers(1, 0, request(&[Field::Named(32, &"c".repeat(4096), PLAIN)])),
        ),
        answered(
            "a hundred fields that are inserted into the table",
            headers(
                1,
                0,
                request(&[Field::Literal("x-name", "value", INSERT | HUFFMAN); 100]),
            ),
        ),
        connection("padded bodies")
            .client(get(1))
            .server(
                [
                    headers(1, PADDED, padded(&block(&[OK]), 3)),
                    padded_data(7, 0),
                ]
                .concat(),
            )
            .streams(1)
            .server(padded_data(255, END_STREAM))
            .streams(0)
            .ended(2, 1),
        connection("a body of nothing but padding")
            .client(get(1))
            .server(headers(1, 0, block(&[OK])))
            .streams(1)
            .server(frame(kind::DATA, PADDED | END_STREAM, 1, padded(b"", 10)))
            .streams(0)
            .ended(2, 1),
        connection("300 frames of one byte")
            .client(headers(1, 0, &fields))
            .client(data(1, 0, "x").repeat(300))
            .server(headers(1, 0, block(&[OK])))
            .server(data(1, 0, "x").repeat(300))
            .streams(1)
            .server(data(1, END_STREAM, "x"))
            .streams(0)
            .ended(2, 1),
        connection("frames of 20 KiB")
            .client(headers(1, 0, &fields))
            .client(data(1, END_STREAM, vec![0; 20 << 10]))
            .server(headers(1, 0, block(&[OK])))
            .server(data(1, END_STREAM, vec![0; 20 << 10]))
            .streams(0)
            .ended(2, 1),
    ]
}

fn continuations() -> Vec<Exchange> {
    let fields = request(&[
        Field::Literal("x-long", &"v".repeat(100), INSERT | HUFFMAN),
        Field::Named(32, &"c".repeat(50), PLAIN),
    ]);
    let split = |name, frames: Vec<Vec<u8>>| {
        connection(name)
            .client(frames.concat())
            .streams(1)
            .server(ok(1))
            .streams(0)
            .client(get(3))
            .streams(1)
            .server(ok(3))
            .streams(0)
            .ended(2, 2)
    };
    let mut all: Vec<Exchange> = (0..=fields.len())
        .map(|at| {
            split(
                "a head in two frames",
                continued(1, END_STREAM, &fields, &[at]),
            )
        })
        .collect();
    let one_by_one = vec![1; fields.len()];
    all.extend([
        split(
            "a head in frames of one byte",
            continued(1, END_STREAM, &fields, &one_by_one),
        ),
        split(
            "a head with empty frames in it",
            continued(1, END_STREAM, &fields, &[0, 0, 5, 0, 0, 7, 0]),
        ),
        split(
            "padding in the first of two frames",
            vec![
                frame(
                    kind::HEADERS,
                    PADDED | PRIORITY,
                    1,
                    padded(&prefixed(&fields[..9]), 12),
                ),
                frame(kind::CONTINUATION, END_HEADERS, 1, &fields[9..]),
            ],
        ),
        connection("a response's head in two frames, END_STREAM on the first")
            .client(get(1))
            .server(frame(kind::HEADERS, END_STREAM, 1, []))
            .streams(1)
            .server(frame(kind::CONTINUATION, END_HEADERS, 1, block(&[OK])))
            .streams(0)
            .ended(2, 1),
        connection("a head in many frames inserts its fields into the table")
            .client(get(1))
            .server(
                continued(
                    1,
                    END_STREAM,
                    &block(&[
                        Field::Named(8, "503", INSERT),
                        Field::Literal("x", "y", INSERT),
                    ]),
                    &[5, 1, 1, 1],
                )
                .concat(),
            )
            .streams(0)
            .client(get(3))
            // Index 63 is the older of the two entries that the first response has inserted: `:status: 503`.
            .server(headers(3, END_STREAM, [0x80 | 63]))
            .streams(0)
            .ended(5, 2),
    ]);
    all
}

fn others() -> Vec<Exchange> {
    let amid = |name, noise: Vec<u8>| {
        connection(name)
            .client([noise.clone(), get(1), noise.clone()].concat())
            .streams(1)
            .server([noise.clone(), ok(1), noise].concat())
            .streams(0)
            .ended(2, 1)
    };
    let goaway = frame(
        kind::GOAWAY,
        0,
        0,
        b"\0\0\0\x01\0\0\0\0with something to say",
    );
    let mut sender = Sender::new();
    let promised = sender.block(&[&GET, [Field::Literal("x", "y", INSERT)].as_slice()].concat());
    let pushed = sender.block(&[Field::Named(8, "404", INSERT)]);
    let answer = sender.block(&[Field::Indexed(62)]);
    vec![
        amid(
            "PING and its answer",
            [ping(), frame(kind::PING, ACK, 0, [0; 8])].concat(),
        ),
        amid("a flood of PING", ping().repeat(200)),
        amid(
            "a flood of SETTINGS",
            [settings(), settings_ack()].concat().repeat(100),
        ),
        amid(
            "windows",
            [window_update(0), window_update(1)].concat().repeat(20),
        ),
        amid("a PRIORITY frame", frame(kind::PRIORITY, 0, 1, WEIGHT)),
        amid("GOAWAY with a message", goaway),
        amid(
            "an unknown frame type, with all flags, on a stream in flight",
            frame(0xfa, 0xff, 1, "\0\0\0\x01\x01\x05"),
        ),
        amid("an unknown frame type, empty", frame(0xb, 0xff, 1, "")),
        amid(
            "an unknown frame type, of 300 bytes",
            frame(0x10, 0x5, 1, [0; 300]),
        ),
        connection("a pushed stream is not counted, but its fields are inserted into the table")
            .client(get(1))
            .server(frame(
                kind::PUSH_PROMISE,
                END_HEADERS,
                1,
                [2u32.to_be_bytes().as_slice(), &promised].concat(),
            ))
            .streams(1)
            .server([headers(2, 0, pushed), data(2, END_STREAM, "pushed")].concat())
            .streams(1)
            .server(headers(1, END_STREAM, answer))
            .streams(0)
            .ended(4, 1),
        connection("a PUSH_PROMISE with padding, in two frames")
            .client(get(1))
            .server(frame(
                kind::PUSH_PROMISE,
                PADDED,
                1,
                padded(&[0, 0, 0, 2, 0x82], 4),
            ))
            .server(frame(kind::CONTINUATION, END_HEADERS, 1, [0x84]))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
    ]
}
