//! Thousands of frames that belong to no request, while a stream is open.

use ebb_fixtures::Case;
use ebb_fixtures::h2::{Frame, H2, kind};

use super::{FRAMES, all_answered_by_h2, all_answered_by_sample};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::ping_flood_from_a_client", EBB, || {
        from_client(&Frame::new(kind::PING, 0, 0, *b"floodpin"));
    }),
    Case::beside("exact::http2::settings_flood_from_a_client", EBB, || {
        from_client(&Frame::new(kind::SETTINGS, 0, 0, []));
    }),
    Case::beside("exact::http2::priority_flood_from_a_client", EBB, || {
        from_client(&Frame::new(kind::PRIORITY, 0, 99, [0, 0, 0, 0, 3]));
    }),
    Case::beside("exact::http2::flood_from_a_server", FRAMES, from_server),
];

const FRAMES_AT_ONCE: usize = 200;

/// Sends [`FRAMES_AT_ONCE`] frames 25 times and reads the server's replies in between. Without this reading, the server
/// would stop reading too.
fn from_client(flood: &Frame) {
    all_answered_by_sample(2, |server, _| {
        let mut h2 = H2::connect(server.address());
        let waits = h2.get("/?sleep=500");
        for turn in 0..25_u64 {
            h2.wire.send(flood.bytes().repeat(FRAMES_AT_ONCE));
            h2.wire
                .send(Frame::new(kind::PING, 0, 0, turn.to_be_bytes()).bytes());
            h2.until(|frame| frame.kind == kind::PING && frame.payload == turn.to_be_bytes());
        }
        let then = h2.get("/");
        h2.answers(&[waits, then]);
    });
}

/// The server sends 4 000 frames between the HEADERS of each response and its body.
fn from_server() {
    all_answered_by_h2(3, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..3 {
            let stream = h2.get("/flood?n=2000");
            h2.answers(&[stream]);
        }
    });
}
