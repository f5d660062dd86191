//! Every exchange of the table, however its bytes are cut, repeated and overtaken.

use std::ops::Range;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{arbitrary::config, cases::all, exchange::Exchange};

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
        let bytes = exchange.play(&"bytes", &mut |_, range| {
            range.map(|at| at..at + 1).collect()
        });
        assert_eq!(bytes, whole, "{}", exchange.name);
    }
}

#[test]
fn every_split_in_two() {
    for exchange in all() {
        let whole = exchange.play_whole();
        for (turn, (_, message)) in exchange.messages().enumerate() {
            for at in message.start + 1..message.end {
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

/// Cuts a message into pieces of these lengths, in turn. Each piece may reach back into what was sent
/// before, and each may be followed by a repetition of something from before.
fn cut(range: Range<usize>, pieces: &[(usize, usize, bool)]) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut at = range.start;
    for (length, back, again) in pieces.iter().cycle() {
        let end = range.end.min(at + length);
        cuts.push(at.saturating_sub(*back)..end);
        if *again {
            cuts.push(end.saturating_sub(length + back)..end.saturating_sub(*back));
        }
        at = end;
        if at == range.end {
            break;
        }
    }
    cuts
}

/// Lengths, how far to reach back, and whether to repeat: short and long ones alike.
fn pieces() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    let length = prop_oneof![1..4usize, 1..80usize, 150..300usize, 1000..20_000usize];
    let back = prop_oneof![4 => Just(0), 1 => 1..100usize];
    prop::collection::vec((length, back, prop::bool::weighted(0.2)), 1..12)
}

fn at_random(exchange: &Exchange) {
    let whole = exchange.play_whole();
    let config = config(1);
    // There are about 150 exchanges.
    let mut runner = TestRunner::new(Config {
        cases: config.cases / 8,
        ..config
    });
    runner
        .run(&pieces(), |pieces| {
            let split = exchange.play(&pieces, &mut |_, range| cut(range, &pieces));
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
