//! Ways in which TCP may cut a stream: into pieces of any length, which may overlap and repeat.

use std::ops::Range;

/// One piece of a message.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Number of bytes of the message in the piece, at least 1.
    pub length: usize,
    /// Number of earlier bytes of the stream that the piece repeats before its own bytes.
    pub back: usize,
    /// True if a retransmission of earlier bytes follows the piece.
    pub again: bool,
}

impl Piece {
    /// The whole message in one piece, without retransmissions.
    pub const WHOLE: Self = Self::of(usize::MAX);

    /// Returns a piece of this many bytes, without retransmissions.
    pub const fn of(length: usize) -> Self {
        Self {
            length,
            back: 0,
            again: false,
        }
    }
}

/// Cuts a message into pieces of these kinds, which are used in turn. Returns ranges of the stream that contains the
/// message, in the order of their arrival. The ranges may reach back into earlier messages.
pub fn cut(message: Range<usize>, pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut at = message.start;
    for piece in pieces.iter().cycle() {
        let end = message.end.min(at.saturating_add(piece.length.max(1)));
        cuts.push(at.saturating_sub(piece.back)..end);
        if piece.again {
            cuts.push(
                end.saturating_sub(piece.length.saturating_add(piece.back))
                    ..end.saturating_sub(piece.back),
            );
        }
        at = end;
        if at == message.end {
            break;
        }
    }
    cuts
}
