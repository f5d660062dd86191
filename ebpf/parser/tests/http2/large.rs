//! Frames of the largest size, and packets with very many frames.

use ebb_abi::ended;
use ebb_parser::{direction::Side, steps};
use ebb_parser_testing::{
    http2::{
        PREFACE,
        beside::{Script, play},
        frames::{END_STREAM, data, headers, ping, settings},
    },
    segments::Piece,
    wire::{Kernel, Wire},
};

/// Maximum number of bytes that the programs get in one packet, if the network card or the loopback device merges
/// segments.
const PACKET: usize = 65_000;

/// Maximum length of a frame's payload (RFC 9113, 4.1).
const LONGEST: usize = (1 << 24) - 1;

/// Returns a script: a request, further frames of the client (`noise`), and a response with this body.
fn script(noise: &[u8], body: Vec<u8>) -> Script {
    vec![
        (Side::Requests, PREFACE.to_vec()),
        (Side::Requests, settings()),
        (Side::Responses, settings()),
        (Side::Requests, headers(1, END_STREAM, [0x82])),
        (Side::Requests, noise.to_vec()),
        (Side::Responses, headers(1, 0, [0x88])),
        (Side::Responses, body),
        (Side::Responses, data(1, END_STREAM, "x")),
    ]
}

#[test]
fn a_frame_of_16_mib() {
    for piece in [1400, PACKET] {
        let frame = data(1, 0, vec![0; LONGEST]);
        let played = play(&script(&frame, frame.clone()), &[Piece::of(piece)]);
        assert_eq!((played.broken, played.opaque), (None, None));
        assert_eq!(played.figures.ended[2], 1);
    }
}

#[test]
fn packets_of_thousands_of_frames() {
    let bytes = data(1, 0, "x").repeat(PACKET / 10);
    let played = play(
        &script(&ping().repeat(PACKET / 17), bytes),
        &[Piece::of(PACKET)],
    );
    assert_eq!((played.broken, played.opaque), (None, None));
    assert_eq!(played.figures.ended[2], 1);
}

/// Number of frames of one packet that old kernels can certainly parse: two steps for each frame (its head and its
/// payload), minus some steps for the frames before and after them.
const SURELY: usize = steps::HTTP2 * steps::TAIL_CALLS / 2 - 20;

#[test]
fn old_kernels_say_when_it_is_too_much() {
    for count in [1, 100, SURELY, 1000, PACKET / 10] {
        let mut wire = Wire::open_on(Kernel::Old, 0, 0);
        let mut sent = [0u32; 2];
        let bytes = data(1, 0, "x").repeat(count);
        for (side, said) in script(&ping().repeat(count), bytes) {
            wire.deliver(side, sent[side as usize], &said, 0);
            sent[side as usize] += said.len() as u32;
        }
        wire.close();
        let figures = wire.figures();
        assert_eq!(figures.started, 1, "{count}");
        assert_eq!(
            figures.ended[2] + figures.ended[ended::OPAQUE],
            1,
            "{count}: {figures:?}"
        );
        assert!(
            count > SURELY || figures.ended[2] == 1,
            "{count}: {figures:?}"
        );
    }
}
