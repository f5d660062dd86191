//! Every kind of request that a client may send: header sections and bodies in all kinds of frames, cut at every
//! position.

use ebb_fixtures::h2::{Frame, H2, flag, head, kind};
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Wire};

use super::{FRAMES, all_answered_by_h2, all_answered_by_sample};
use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::http2::a_stream_is_in_flight_as_http2",
        EBB,
        one_stream,
    ),
    Case::beside(
        "exact::http2::continuation_of_a_request",
        FRAMES,
        continuation,
    ),
    Case::beside("exact::http2::padding_and_priority", EBB, padding),
    Case::beside("exact::http2::uploads_interleaved", EBB, interleaved),
    Case::beside("exact::http2::trailers_of_a_request", EBB, trailers),
    Case::beside("exact::http2::frames_of_unknown_kinds", EBB, unknown),
    Case::beside("exact::http2::cut_at_each_place", EBB, cut),
    Case::beside("exact::http2::byte_by_byte", EBB, byte_by_byte),
    Case::beside("exact::http2::all_in_one_packet", EBB, one_packet),
    Case::beside(
        "exact::http2::preface_that_is_broken_off",
        EBB,
        broken_preface,
    ),
];

fn one_stream() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            let streams: Vec<_> = (0..5).map(|_| h2.get("/?sleep=500")).collect();
            let line = watch.until("in flight", |_, line| line.in_flight == 5);
            assert_eq!(line.by_protocol(), [0, 5, 0, 0], "HTTP/2");
            h2.answers(&streams);
            watch.until("no request, but an open connection", |totals, line| {
                (totals.completed, line.in_flight, line.connections) == (5, 0, 1)
            });
            assert_eq!(server.stats().requests, 5);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(6));
    assert!((2.48..3.0).contains(&totals.integral), "{totals:?}");
}

/// END_STREAM is in the HEADERS frame, END_HEADERS in the last CONTINUATION frame. (Most servers treat more than 64
/// CONTINUATION frames as an attack.)
fn continuation() {
    all_answered_by_h2(3, |server, _| {
        let mut h2 = H2::connect(server.address());
        let long = "l".repeat(3_000);
        let block = head("GET", "/", &[("x-long", &long)]);
        for pieces in [2, 3, 50] {
            let stream = h2.stream();
            let mut parts = block.chunks(block.len().div_ceil(pieces)).peekable();
            let first = parts.next().unwrap_or_default();
            h2.send(kind::HEADERS, flag::END_STREAM, stream, first);
            while let Some(part) = parts.next() {
                let last = parts.peek().is_none();
                let flags = if last { flag::END_HEADERS } else { 0 };
                h2.send(kind::CONTINUATION, flags, stream, part);
            }
            h2.answers(&[stream]);
        }
    });
}

fn padding() {
    all_answered_by_sample(3, |server, _| {
        let mut h2 = H2::connect(server.address());
        let block = head("POST", "/", &[]);
        let padded =
            |content: &[u8], pad: u8| [&[pad], content, &vec![0; usize::from(pad)]].concat();
        let priority = [&[0, 0, 0, 0, 15][..], &block].concat();
        for (flags, payload) in [
            (flag::PADDED, padded(&block, 200)),
            (flag::PRIORITY, priority.clone()),
            (flag::PADDED | flag::PRIORITY, padded(&priority, 7)),
        ] {
            let stream = h2.stream();
            h2.send(kind::HEADERS, flags | flag::END_HEADERS, stream, payload);
            h2.send(kind::PRIORITY, 0, stream, [0, 0, 0, 0, 3]);
            h2.send(kind::DATA, flag::PADDED, stream, padded(b"body", 255));
            h2.send(
                kind::DATA,
                flag::PADDED | flag::END_STREAM,
                stream,
                padded(b"", 9),
            );
            h2.answers(&[stream]);
        }
    });
}

/// Sends twenty bodies at the same time, one byte of each in turn.
fn interleaved() {
    all_answered_by_sample(20, |server, watch| {
        let mut h2 = H2::connect(server.address());
        let streams: Vec<_> = (0..20).map(|_| h2.post("/")).collect();
        for _ in 0..100 {
            for stream in &streams {
                h2.send(kind::DATA, 0, *stream, *b"x");
            }
        }
        watch.until("all in flight", |_, line| line.in_flight == 20);
        for stream in &streams {
            h2.send(kind::DATA, flag::END_STREAM, *stream, []);
        }
        h2.answers(&streams);
    });
}

/// Sends a HEADERS frame that does not begin a stream but ends it: trailers.
fn trailers() {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..2 {
            let stream = h2.post("/");
            h2.send(kind::DATA, 0, stream, *b"body");
            let flags = flag::END_STREAM | flag::END_HEADERS;
            // The trailer `x-sum: 1`, as a literal without compression.
            h2.send(kind::HEADERS, flags, stream, *b"\x10\x05x-sum\x011");
            h2.answers(&[stream]);
        }
    });
}

/// A receiver must ignore frames of unknown types (RFC 9113, 4.1), whatever their flags would mean in frames of other
/// types.
fn unknown() {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..2 {
            let stream = h2.post("/");
            for kind in [0x0a, 0x10, 0xbb, 0xff] {
                h2.send(kind, 0xff, stream, *b"GET / HTTP/1.1\r\n\r\n");
                h2.send(kind, 0xff, 0, []);
            }
            h2.send(kind::DATA, flag::END_STREAM, stream, []);
            h2.answers(&[stream]);
        }
    });
}

/// Returns the first bytes of a connection: the preface with SETTINGS, a request with a body, and a request without a
/// body.
fn conversation() -> Vec<u8> {
    let all = flag::END_STREAM | flag::END_HEADERS;
    [
        H2::opening(),
        Frame::new(kind::HEADERS, flag::END_HEADERS, 1, head("POST", "/", &[])).bytes(),
        Frame::new(kind::DATA, 0, 1, *b"bo").bytes(),
        Frame::new(kind::HEADERS, all, 3, head("GET", "/", &[])).bytes(),
        Frame::new(kind::DATA, flag::END_STREAM, 1, *b"dy").bytes(),
    ]
    .concat()
}

/// Cuts [`conversation`] at every position: in the preface, in frame headers and in payloads. Each cut has a separate
/// connection.
fn cut() {
    let bytes = conversation();
    all_answered_by_sample(2 * (bytes.len() as u64 - 1), |server, _| {
        for place in 1..bytes.len() {
            let mut h2 = H2::silent(server.address());
            h2.wire.send(&bytes[..place]);
            h2.wire.send(&bytes[place..]);
            h2.answers(&[1, 3]);
        }
    });
}

fn byte_by_byte() {
    let bytes = conversation();
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::silent(server.address());
        for byte in bytes {
            h2.wire.send([byte]);
        }
        h2.answers(&[1, 3]);
    });
}

/// Sends 300 requests and the connection preface in one write.
fn one_packet() {
    all_answered_by_sample(300, |server, _| {
        let mut h2 = H2::silent(server.address());
        let streams: Vec<_> = (0..300).map(|_| h2.stream()).collect();
        let flags = flag::END_STREAM | flag::END_HEADERS;
        let frames = streams
            .iter()
            .map(|stream| Frame::new(kind::HEADERS, flags, *stream, head("GET", "/", &[])).bytes());
        let bytes: Vec<_> = [H2::opening()].into_iter().chain(frames).collect();
        h2.wire.send(bytes.concat());
        h2.answers(&streams);
    });
}

/// The client sends an incomplete HTTP/2 preface and closes. Nothing may stay in flight, and at most one request may be
/// counted.
fn broken_preface() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send("PRI * HTTP/2.0\r\n\r\nS");
            watch.until("connected", |_, line| line.connections == 1);
            drop(wire);
            watch.until("closed", |_, line| {
                (line.connections, line.in_flight) == (0, 0)
            });
        },
    );
    assert!(totals.requests <= 1, "{totals:?}");
}
