//! A fuzz target: unusual conversations over HTTP/2 (stories). However a story is cut into packets, the counts must be
//! those of a reader that decodes everything. For the client's part alone, the parser must count at least the requests
//! that an `h2` server accepts.

use arbitrary::{Arbitrary as _, Unstructured};

use super::Target;
use crate::{
    http2::{beside::play, library, story::Story},
    segments::Piece,
};

pub(super) const TARGET: Target = Target {
    name: "http2_conversation",
    run,
    seeds,
};

/// If fewer streams than this are in flight, the parser's table has room for one more: each set of the table has more
/// places than this.
const ROOM: u64 = 4;

/// Number of bytes of the longest packet. One run of every program parses such a packet completely.
const LONGEST: usize = 2000;

/// Runs the target. The first byte is the length of the pieces into which the data is cut. The story is generated from
/// the other bytes.
fn run(bytes: &[u8]) {
    let Some((piece, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(story) = Story::arbitrary(&mut Unstructured::new(rest)) else {
        return;
    };
    let script = story.script();
    let whole = play(&script, &[Piece::of(LONGEST)]);
    assert!(
        whole.opaque.is_none_or(|open| open >= ROOM),
        "opaque: {whole:?}"
    );
    let pieces = [Piece::of(usize::from(*piece).max(1))];
    let cut = play(&script, &pieces).figures;
    assert_eq!(cut.ended, whole.figures.ended, "in {pieces:?}");
    let served = library::served(&script);
    let played = play(&served.script, &pieces);
    if served.content && played.opaque.is_none() {
        assert!(played.figures.started >= served.accepted, "{served:?}");
        // One stream may still be in flight at the close: a stream whose header block is not complete.
        assert!(played.left <= 1, "{} left of {served:?}", played.left);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // The bytes come from Knuth's MMIX generator. Any bytes are suitable, as long as they are always the same.
    let mut state = 1u64;
    let mut any = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (1..40)
        .map(|count| (0..count * 8).map(|_| any()).collect())
        .collect()
}
