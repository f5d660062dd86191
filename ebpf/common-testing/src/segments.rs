//! How TCP may cut a stream: into pieces of any length, that overlap and repeat.

use std::ops::Range;

/// One piece of a message.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// How much of the message it brings, at least 1.
    pub length: usize,
    /// How far it reaches back into what came before.
    pub back: usize,
    /// Whether something from before comes again behind it.
    pub again: bool,
}

impl Piece {
    /// All of a message, once.
    pub const WHOLE: Self = Self::of(usize::MAX);

    /// So many bytes, once.
    pub const fn of(length: usize) -> Self {
        Self {
            length,
            back: 0,
            again: false,
        }
    }
}

/// Cuts a message into such pieces, in turn: ranges of its stream, in the order of their arrival. They may
/// reach back into earlier messages.
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
