//! Plays every exchange of `cases` under every way to cut, repeat and reorder its bytes.

use ebb_parser_testing::{exchange::Exchange, segments::Piece};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    cases::all,
    shared::{config, pieces},
};

#[test]
fn whole() {
    for exchange in all() {
        exchange.play_whole();
    }
}

#[test]
fn byte_by_byte() {
    for exchange in all() {
        let whole = exchange.play_whole();
        let split = exchange.play_in(&[Piece::of(1)]);
        assert_eq!(split, whole, "{}", exchange.name);
    }
}

/// Maximum number of positions at which one message is split.
const SPLITS: usize = 400;

#[test]
fn every_split_in_two() {
    for exchange in all() {
        let whole = exchange.play_whole();
        for (turn, (_, message)) in exchange.messages().enumerate() {
            // A message is split at each byte. A long message is split at fewer positions, because most of its bytes
            // are alike.
            let stride = 1 + message.len() / SPLITS;
            for at in (message.start + 1..message.end).step_by(stride) {
                let mut now = 0;
                let split = exchange.play(&(turn, at), &mut |_, range| {
                    now += 1;
                    if now == turn + 1 {
                        vec![range.start..at, at..range.end]
                    } else {
                        vec![range]
                    }
                });
                assert_eq!(
                    split, whole,
                    "{}, message {turn} split at {at}",
                    exchange.name
                );
            }
        }
    }
}

fn at_random(exchange: &Exchange) {
    let whole = exchange.play_whole();
    let config = config(1);
    // There are about 150 exchanges, so each exchange gets fewer random cases than other tests get.
    let mut runner = TestRunner::new(Config {
        cases: config.cases / 8,
        ..config
    });
    runner
        .run(&pieces(), |pieces| {
            let split = exchange.play_in(&pieces);
            prop_assert_eq!(&split, &whole, "{}", exchange.name);
            Ok(())
        })
        .unwrap();
}

#[test]
fn at_random_with_repetitions() {
    for exchange in all() {
        at_random(&exchange);
    }
}
