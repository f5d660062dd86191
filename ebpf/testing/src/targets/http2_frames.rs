//! A fuzz target: any bytes of both sides after the beginning of HTTP/2. As long as a peer could send the bytes, the
//! counts must be those of the reader that decodes everything. The counts must also be the same however the bytes are
//! cut.

use ebb_parser::direction::Side;

use super::{
    Target,
    packets::{read, write},
};
use crate::{
    http2::{
        PREFACE,
        beside::{Script, play_to},
        frames::{
            END_STREAM, PADDED, PRIORITY, continued, data, frame, headers, kind, padded, ping,
            reset, settings,
        },
        headers::{Field, HUFFMAN, INSERT, NEVER, PLAIN, Sender},
        reader::Reader,
    },
    segments::Piece,
};

pub(super) const TARGET: Target = Target {
    name: "http2_frames",
    run,
    seeds,
};

/// Number of bytes of the longest packet. The steps of such a packet fit in one run of every program.
const LONGEST: usize = 2000;

/// Runs the target. The first byte is the length of the pieces. The other bytes are packets; only the side and
/// the payload matter.
fn run(bytes: &[u8]) {
    let Some((piece, packets)) = bytes.split_first() else {
        return;
    };
    let mut script: Script = vec![(Side::Requests, PREFACE.to_vec())];
    script.extend(
        read(packets)
            .into_iter()
            .map(|arrival| (arrival.side, arrival.payload)),
    );
    let play = |piece| {
        play_to(
            Reader::without_continuations(),
            &script,
            &[Piece::of(piece)],
        )
        .figures
    };
    let whole = play(LONGEST);
    for length in [1, usize::from(*piece).max(1)] {
        let cut = play(length);
        assert_eq!(cut.started, whole.started, "in pieces of {length}");
        assert_eq!(cut.ended, whole.ended, "in pieces of {length}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let fields = [
        Field::Indexed(2),
        Field::Named(4, "/metrics", INSERT),
        Field::Named(58, "kube-probe/1.30", INSERT | HUFFMAN),
        Field::Literal("k-network-probe", "queue", INSERT | HUFFMAN),
        Field::Literal("x", "y", NEVER),
    ];
    let asked = Sender::new().block(&fields);
    let statuses: Vec<Vec<u8>> = [PLAIN, INSERT, NEVER, HUFFMAN, INSERT | HUFFMAN]
        .iter()
        .map(|how| Sender::new().block(&[Field::Named(8, "503", *how), Field::Indexed(54)]))
        .collect();
    let client = [
        settings(),
        headers(1, END_STREAM, &asked),
        headers(
            3,
            PADDED | PRIORITY,
            padded(
                &[&[0, 0, 0, 0, 1], [0x82, 0xbe, 0xbf].as_slice()].concat(),
                4,
            ),
        ),
        data(3, PADDED | END_STREAM, padded(b"x", 3)),
        continued(5, END_STREAM, &asked, &[3, 0, 9]).concat(),
        reset(5),
        ping(),
    ]
    .concat();
    let server = [
        settings(),
        headers(1, 0, &statuses[0]),
        data(1, END_STREAM, "hello"),
        headers(3, END_STREAM, [0x88]),
        frame(kind::PUSH_PROMISE, 4, 3, [0, 0, 0, 2, 0x82]),
        frame(kind::GOAWAY, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]),
    ]
    .concat();
    let seed = |packets: &[(Side, &[u8])]| [vec![7], write(packets)].concat();
    let mut seeds = vec![
        seed(&[(Side::Requests, &client), (Side::Responses, &server)]),
        seed(&[(Side::Responses, &server), (Side::Requests, &client)]),
    ];
    seeds.extend(statuses.iter().map(|status| {
        let answer = headers(1, END_STREAM, status);
        seed(&[
            (Side::Requests, &headers(1, END_STREAM, [0x82])),
            (Side::Responses, &answer),
        ])
    }));
    seeds
}
