//! Tests with packets that hold thousands of chunks or of pipelined requests.

use ebb_abi::ended;
use ebb_parser::{direction::Side, steps};
use ebb_parser_testing::{
    exchange::exchange,
    wire::{Kernel, Wire},
};

use crate::cases::{GET, OK};

/// Maximum number of bytes that the programs get in one packet, if the network card or the loopback device merges
/// segments.
const PACKET: usize = 65_000;

fn chunks(count: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "1\r\nx\r\n".repeat(count)
    )
}

#[test]
fn packets_of_thousands_of_chunks() {
    exchange("chunks of one byte")
        .client(GET)
        .server(chunks(PACKET / 6))
        .flying(0)
        .client(GET)
        .flying(1)
        .ended(2, 1)
        .ended(0, 1)
        .play_whole();
}

#[test]
fn packets_of_thousands_of_requests() {
    let count = PACKET / OK.len();
    exchange("a deep pipeline")
        .client(GET.repeat(count))
        .flying(count as u64)
        .server(OK.repeat(count))
        .flying(0)
        .ended(2, count as u64)
        .play_whole();
}

/// Number of chunks of one packet that old kernels can certainly parse: one step for each chunk, minus some steps for
/// the bytes before and after the chunks.
const SURELY: usize = steps::HTTP1 * steps::TAIL_CALLS - 20;

#[test]
fn old_kernels_say_when_it_is_too_much() {
    for count in [1, 100, SURELY, 1000, PACKET / 6] {
        let mut wire = Wire::open_on(Kernel::Old, 0, 0);
        wire.deliver(Side::Requests, 0, GET.as_bytes(), 0);
        wire.deliver(Side::Responses, 0, chunks(count).as_bytes(), 0);
        let counted = wire.figures().ended[2];
        let opaque = wire.figures().opaque;
        assert_eq!(counted + opaque, 1, "{count}");
        assert!(count > SURELY || counted == 1, "{count}");
        wire.close();
        assert_eq!(wire.figures().ended[ended::OPAQUE], opaque);
    }
}
