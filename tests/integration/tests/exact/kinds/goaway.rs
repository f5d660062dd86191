//! HTTP/2: a GOAWAY at every point of a conversation with five streams.

use ebb_fixtures::Case;
use ebb_fixtures::h2::{Frame, H2, flag, head, kind};
use ebb_fixtures::watch::Ends;

use super::{Item, Turn, all_exact};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[Case::beside(
    "exact::kinds::goaway_at_any_point",
    EBB,
    || {
        let mut conversations = Vec::new();
        for opened in 0..=STREAMS {
            for answered in 0..=opened {
                for last in 0..=STREAMS + 1 {
                    conversations.push(vec![conversation(opened, answered, last)]);
                }
            }
        }
        all_exact(&conversations);
    },
)];

const STREAMS: u32 = 5;

/// The identifier of the stream with this number, from 1 on; 0 for the number 0, which means no stream.
const fn stream(number: u32) -> u32 {
    if number == 0 { 0 } else { number * 2 - 1 }
}

/// A conversation in which the server sends a GOAWAY after the client has opened some streams, and after the server has
/// answered some of these. Then the client opens all other streams, and the server answers all that it has not refused.
/// A `last` above the number of streams stands for the largest identifier, with which a server announces its end.
fn conversation(opened: u32, answered: u32, last: u32) -> Item {
    const LARGEST: u32 = (1 << 31) - 1;
    let requests = |numbers: std::ops::RangeInclusive<u32>| numbers.flat_map(request).collect();
    let responses = |numbers: std::ops::RangeInclusive<u32>| numbers.flat_map(response).collect();
    let named = if last > STREAMS {
        LARGEST
    } else {
        stream(last)
    };
    let accepted = last.min(STREAMS);
    let goaway = [named.to_be_bytes(), [0; 4]].concat();
    let settings = Frame::new(kind::SETTINGS, 0, 0, []).bytes();
    let turns: Vec<(bool, Vec<u8>)> = vec![
        (true, H2::opening()),
        (false, settings),
        (true, requests(1..=opened)),
        (false, responses(1..=answered)),
        (false, Frame::new(kind::GOAWAY, 0, 0, goaway).bytes()),
        (true, requests(opened + 1..=STREAMS)),
        (false, responses(answered + 1..=accepted)),
    ];
    let turns = turns.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    let turns = turns.map(|(is_client, bytes)| match is_client {
        true => Turn::Client(bytes),
        false => Turn::Server(bytes),
    });
    let ended = u64::from(accepted.max(answered));
    Item {
        name: format!("{opened} opened, {answered} answered, last stream {named}"),
        turns: turns.collect(),
        ends: Ends {
            aborted: u64::from(STREAMS) - ended,
            ..Ends::answered(ended)
        },
        closes: false,
    }
}

fn request(number: u32) -> Vec<u8> {
    let flags = flag::END_STREAM | flag::END_HEADERS;
    Frame::new(kind::HEADERS, flags, stream(number), head("GET", "/", &[])).bytes()
}

fn response(number: u32) -> Vec<u8> {
    /// The field `:status: 200`, by its index in the static table (RFC 7541, appendix A).
    const STATUS_200: u8 = 0x88;
    let stream = stream(number);
    let head = Frame::new(kind::HEADERS, flag::END_HEADERS, stream, [STATUS_200]);
    let body = Frame::new(kind::DATA, flag::END_STREAM, stream, *b"hello");
    [head.bytes(), body.bytes()].concat()
}
