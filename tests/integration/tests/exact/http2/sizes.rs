//! Frames of one byte, and frames of 16 MiB.

use ebb_fixtures::Case;
use ebb_fixtures::h2::{Frame, H2, flag, kind};

use super::{FRAMES, all_answered_by_h2, all_answered_by_sample};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::frames_of_one_byte_to_a_server", EBB, ones_up),
    Case::beside(
        "exact::http2::ten_thousand_frames_in_one_write",
        EBB,
        one_write_up,
    ),
    Case::beside(
        "exact::http2::frames_of_one_byte_from_a_server",
        FRAMES,
        ones_down,
    ),
    Case::beside("exact::http2::frames_of_16_mib_to_a_server", EBB, large_up),
    Case::beside(
        "exact::http2::frames_of_16_mib_from_a_server",
        FRAMES,
        large_down,
    ),
];

/// The largest payload of a frame, 2^24 - 1 bytes.
const LARGEST: usize = (1 << 24) - 1;

fn ones_up() {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..2 {
            let stream = h2.post("/");
            for _ in 0..500 {
                h2.send(kind::DATA, 0, stream, *b"x");
            }
            h2.send(kind::DATA, flag::END_STREAM, stream, []);
            h2.answers(&[stream]);
        }
    });
}

/// Sends more frames in one packet than a kernel program processes in one call.
fn one_write_up() {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..2 {
            let stream = h2.post("/");
            let one = Frame::new(kind::DATA, 0, stream, *b"x").bytes();
            h2.wire.send(one.repeat(10_000));
            h2.send(kind::DATA, flag::END_STREAM, stream, []);
            h2.answers(&[stream]);
        }
    });
}

/// The server sends all one-byte frames of a response in one write.
fn ones_down() {
    all_answered_by_h2(6, |server, _| {
        let mut h2 = H2::connect(server.address());
        for n in [1, 2, 100, 1_000, 10_000, 1] {
            let stream = h2.get(&format!("/ones?n={n}"));
            h2.answers(&[stream]);
        }
    });
}

fn large_up() {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        h2.until(|frame| frame.kind == kind::SETTINGS);
        for size in [LARGEST, 1 << 20] {
            let stream = h2.post("/");
            h2.send(kind::DATA, flag::END_STREAM, stream, vec![0; size]);
            h2.answers(&[stream]);
        }
    });
}

/// The payload is all zeros: a program that wrongly parsed it as frames would see empty DATA frames.
fn large_down() {
    all_answered_by_h2(3, |server, _| {
        let mut h2 = H2::connect(server.address());
        for size in [LARGEST, 1 << 20, 1] {
            let stream = h2.get(&format!("/large-frame?n={size}"));
            h2.answers(&[stream]);
        }
    });
}
