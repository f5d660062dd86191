//! Random conversations that are unlikely but valid. The counts are compared with those of a reader that decodes
//! everything.

use arbitrary::{Arbitrary as _, Unstructured};
use ebb_parser_testing::{
    http2::{beside::play, reader::Broken, story::Story},
    segments::Piece,
};
use proptest::prelude::*;

use crate::shared::{config, pieces};

fn story() -> impl Strategy<Value = Story> {
    prop::collection::vec(any::<u8>(), 0..3000).prop_map(|bytes| {
        Story::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes will do")
    })
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn counts_are_the_readers(story in story(), pieces in pieces()) {
        let script = story.script();
        let whole = play(&script, &[Piece::WHOLE]);
        // The randomly chosen index of a dynamic-table entry may give a response a second status, which the reader
        // reports as an error.
        prop_assert!(matches!(whole.broken, None | Some(Broken::Status)), "{:?}", whole.broken);
        prop_assert_eq!(whole.opaque, None);
        let split = play(&script, &pieces);
        prop_assert_eq!(split.opaque, None);
        prop_assert_eq!(split.figures.ended, whole.figures.ended);
    }
}
