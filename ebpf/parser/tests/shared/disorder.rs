//! Plays every exchange of `cases` with the client's packets overtaking one another. The server's bytes are seen in the
//! order in which the server sends them.

use std::ops::Range;

use ebb_parser::{direction::Side, out_of_order::PIECES};
use ebb_parser_testing::{exchange::Exchange, http2::PREFACE, segments::Piece, segments::cut};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{cases::all, shared::config};

/// Plays an exchange with its messages in pieces. The pieces of a message all arrive at the same time, in the order
/// that `order` gives them. The preface of HTTP/2 is not cut, and arrives first, because no client sends it in two
/// packets.
fn play(exchange: &Exchange, how: &str, length: usize, order: impl Fn(&mut Vec<Range<usize>>)) {
    let whole = exchange.play_whole();
    let mut cut = |side: Side, message: Range<usize>| {
        if side == Side::Responses {
            return vec![message];
        }
        let mut start = message.start;
        if exchange.stream(side)[message.clone()].starts_with(PREFACE) {
            start += PREFACE.len();
        }
        // The pieces are long enough that the out-of-order buffer has room for all of them.
        let length = length
            .max((message.end - start).div_ceil(PIECES - 2))
            .max(1);
        let mut pieces = cut(start..message.end, &[Piece::of(length)]);
        order(&mut pieces);
        if start > message.start {
            pieces.insert(0, message.start..start);
        }
        pieces
    };
    let disordered = exchange.play(&(how, length), &mut cut);
    assert_eq!(disordered, whole, "{}, {how}, by {length}", exchange.name);
    let at_once = exchange.play_at_once(&(how, length), &mut cut);
    assert_eq!(
        at_once, whole,
        "{}, {how}, at once, by {length}",
        exchange.name
    );
}

#[test]
fn two_at_once() {
    for exchange in all() {
        for length in [1, 7, 100, 1500, 5000] {
            play(&exchange, "in order", length, |_| {});
        }
    }
}

#[test]
fn the_last_first() {
    for exchange in all() {
        for length in [1, 7, 100, 1500] {
            play(&exchange, "backwards", length, |pieces| pieces.reverse());
        }
    }
}

#[test]
fn the_first_last() {
    for exchange in all() {
        for length in [1, 7, 100, 1500] {
            play(&exchange, "the first last", length, |pieces| {
                pieces.rotate_left(1)
            });
        }
    }
}

#[test]
fn neighbours_swapped() {
    for exchange in all() {
        for length in [1, 7, 100, 1500] {
            play(&exchange, "swapped", length, |pieces| {
                pieces.chunks_mut(2).for_each(<[_]>::reverse);
            });
        }
    }
}

#[test]
fn in_any_order_and_again() {
    let strategy = (
        1..200usize,
        prop::collection::vec(any::<prop::sample::Index>(), 1..64),
    );
    for exchange in all() {
        let mut config = config(1);
        config.cases /= 16;
        TestRunner::new(config)
            .run(&strategy, |(length, places)| {
                play(&exchange, &format!("{places:?}"), length, |pieces| {
                    for place in &places {
                        if let [_, ..] = pieces[..] {
                            let piece = pieces.remove(place.index(pieces.len()));
                            pieces.push(piece);
                        }
                    }
                    // Each piece is sent a second time, from the first to the last.
                    pieces.extend(pieces.clone());
                });
                Ok(())
            })
            .unwrap();
    }
}
