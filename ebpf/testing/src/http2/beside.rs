//! Plays a conversation to the parser and to the [`Reader`], and compares their counts.

use ebb_parser::direction::Side;

use super::reader::{Broken, Reader};
use crate::{
    ledger::Figures,
    segments::{Piece, cut},
    wire::Wire,
};

/// Time between two segments, ns. It keeps the latencies of two segments from being in one bucket of the histogram by
/// accident.
const PAUSE: u64 = 700_000;

/// Sequence numbers of the first byte from the client and of the first byte to the client. Both sequence numbers wrap
/// soon.
const FIRST: [u32; 2] = [u32::MAX - 100, u32::MAX - 20];

/// The bytes that each side sends, in the order in which the programs see them.
pub type Script = Vec<(Side, Vec<u8>)>;

/// Result of playing a [`Script`].
#[derive(Debug)]
pub struct Played {
    /// The counts after the close of the connection.
    pub figures: Figures,
    /// Number of requests in flight when the connection closed.
    pub left: u64,
    /// Number of streams in flight when the parser made the connection opaque; `None` if it did not.
    pub opaque: Option<u64>,
    /// The reason why the bytes of one side are not valid HTTP/2; `None` if the bytes of both sides are valid. From
    /// invalid bytes on, nothing is compared.
    pub broken: Option<Broken>,
}

/// Plays a script, cut into these pieces. Compares all counts after each segment, including the integral of requests in
/// flight over time, to the nanosecond.
pub fn play(script: &Script, pieces: &[Piece]) -> Played {
    play_to(Reader::new(), script, pieces)
}

/// Plays a script like `play`, with the given reader.
pub fn play_to(mut reader: Reader, script: &Script, pieces: &[Piece]) -> Played {
    let mut wire = Wire::open(FIRST[0], FIRST[1]);
    let mut streams = [Vec::new(), Vec::new()];
    let mut broken = None;
    let mut opaque = None;
    for run in script.chunk_by(|a, b| a.0 == b.0) {
        let side = run[0].0;
        let stream: &mut Vec<u8> = &mut streams[side as usize];
        let start = stream.len();
        run.iter().for_each(|(_, bytes)| stream.extend(bytes));
        let mut known = start;
        for range in cut(start..stream.len(), pieces) {
            wire.ledger.pass(PAUSE);
            let first = FIRST[side as usize].wrapping_add(range.start as u32);
            let end = range.end;
            wire.deliver(side, first, &stream[range], 0);
            let new = stream.get(known..end).unwrap_or_default();
            known = known.max(end);
            if broken.is_some() || opaque.is_some() {
                continue;
            }
            let open = reader.open();
            broken = reader.read(side, new, wire.ledger.time()).err();
            if broken.is_some() {
                continue;
            }
            if wire.figures().opaque != 0 {
                opaque = Some(open);
                continue;
            }
            assert_eq!(
                wire.figures(),
                reader.figures(),
                "{side:?} up to byte {end}"
            );
        }
    }
    wire.ledger.pass(PAUSE);
    let now = wire.ledger.time();
    let left = wire.figures().in_flight() as u64;
    wire.close();
    if broken.is_none() && opaque.is_none() {
        reader.close(now);
        assert_eq!(wire.figures(), reader.figures(), "closed");
    }
    Played {
        figures: wire.figures().clone(),
        left,
        opaque,
        broken,
    }
}
