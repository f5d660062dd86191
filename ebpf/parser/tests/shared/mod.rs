//! Shared parts of the property tests of both parsers.

use ebb_parser_testing::segments::Piece;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

/// Returns a configuration of 256 cases, multiplied by `times`. The cases are the same in every run.
/// `PROPTEST_RNG_SEED` selects other cases, and `PROPTEST_CASES` another number than 256.
pub(crate) fn config(times: u32) -> Config {
    let given = Config::default();
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    Config {
        cases: given.cases * times,
        rng_seed,
        failure_persistence: None,
        ..given
    }
}

/// Returns ways to cut messages into short and long pieces.
pub(crate) fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let length = prop_oneof![1..4usize, 1..80usize, 150..300usize, 1000..20_000usize];
    let back = prop_oneof![4 => Just(0), 1 => 1..100usize];
    let piece = (length, back, prop::bool::weighted(0.2)).prop_map(|(length, back, again)| Piece {
        length,
        back,
        again,
    });
    prop::collection::vec(piece, 1..12)
}
