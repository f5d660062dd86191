//! Packets of both directions, encoded in a fuzzer's bytes: two bytes describe a packet, and the packet's payload
//! follows.

use ebb_parser::direction::Side;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) side: Side,
    /// Position of the packet in the stream of its side.
    pub(super) place: Place,
    /// True if the packet has a FIN.
    pub(super) fin: bool,
    pub(super) payload: Vec<u8>,
}

/// Position of a packet, relative to the end of all bytes that its side has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The packet begins at the end.
    Next,
    /// The packet begins this many bytes before the end, and has no new bytes: a retransmission.
    Again(u8),
    /// The packet begins with a retransmission of this many bytes, and new bytes follow.
    Overlapping(u8),
    /// The packet begins this many bytes after the end. The bytes in between never arrive.
    Ahead(u8),
    /// The packet begins at the end, but this many packets of its side overtake it.
    Late(u8),
}

/// Maximum number of packets that overtake another one.
pub(super) const LATEST: u8 = 7;

const SERVER: u8 = 1;
const FIN: u8 = 1 << 1;
/// Bits of the position of a packet. If they are not 0, a third byte follows: the distance.
const PLACES: u8 = 0b1100;
const AGAIN: u8 = 0b0100;
const OVERLAPPING: u8 = 0b1000;
const AHEAD: u8 = 0b1100;
/// The number in these bits is added to the length in the second byte: payloads have up to 255 + 240 = 495 bytes. The
/// steps of such a packet fit in one run of every program.
const LONGER: u8 = 0xf0;

/// Reads all packets from the bytes.
pub(super) fn read(mut bytes: &[u8]) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    while let [what, length, rest @ ..] = bytes {
        let (place, rest) = match (what & PLACES, rest) {
            (AHEAD, [count, rest @ ..]) if *count >= 128 => (Place::Late(count & LATEST), rest),
            (AGAIN, [distance, rest @ ..]) => (Place::Again(*distance), rest),
            (OVERLAPPING, [distance, rest @ ..]) => (Place::Overlapping(*distance), rest),
            (AHEAD, [distance, rest @ ..]) => (Place::Ahead(*distance), rest),
            (_, rest) => (Place::Next, rest),
        };
        let length = usize::from(*length) + usize::from(what & LONGER);
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        arrivals.push(Arrival {
            side: if what & SERVER == 0 {
                Side::Requests
            } else {
                Side::Responses
            },
            place,
            fin: what & FIN != 0,
            payload: payload.to_vec(),
        });
        bytes = rest;
    }
    arrivals
}

/// Encodes packets for seeds. Each packet begins where the packet before it ends.
pub(super) fn write(packets: &[(Side, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (side, payload) in packets {
        for piece in payload.chunks(usize::from(u8::MAX)) {
            bytes.push(if *side == Side::Requests { 0 } else { SERVER });
            bytes.push(piece.len() as u8);
            bytes.extend(piece);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let payload = vec![b'x'; 300];
        let packets = [
            (Side::Requests, payload.as_slice()),
            (Side::Responses, b"y"),
        ];
        let read = read(&write(&packets));
        let of = |side| {
            let packets = read.iter().filter(|arrival| arrival.side == side);
            packets
                .flat_map(|arrival| arrival.payload.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Side::Requests), payload);
        assert_eq!(of(Side::Responses), b"y");
        assert!(
            read.iter()
                .all(|arrival| arrival.place == Place::Next && !arrival.fin)
        );
    }
}
