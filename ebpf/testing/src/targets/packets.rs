//! Packets of both directions, encoded in a fuzzer's bytes: two bytes describe a packet, and the packet's payload
//! follows.

use ebb_parser::direction::Side;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FuzzPacket {
    pub(super) side: Side,
    /// Position of the packet in the stream of its sender.
    pub(super) place: PacketPlace,
    /// True if the packet has a FIN.
    pub(super) fin: bool,
    pub(super) payload: Vec<u8>,
}

/// Position of a packet, relative to the end of the stream: the end of all bytes that the packet's sender has sent
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketPlace {
    /// The packet begins at the end of the stream.
    Next,
    /// The packet is a retransmission: it ends this many bytes before the end of the stream, and has no new bytes.
    Again(u8),
    /// The packet begins with a retransmission of this many bytes, and new bytes follow.
    Overlapping(u8),
    /// The packet begins this many bytes after the end of the stream. The bytes in between never arrive.
    Ahead(u8),
    /// The packet begins at the end of the stream, but is delayed: this many later packets of its sender arrive before
    /// it.
    Late(u8),
}

/// Maximum number of later packets that arrive before a delayed packet.
pub(super) const LATEST: u8 = 7;

const SERVER: u8 = 1;
const FIN: u8 = 1 << 1;
/// Bits of the first byte that select the position of the packet ([`PacketPlace`]). If they are not 0, a third byte
/// follows: the number of bytes or packets that the position needs.
const PLACES: u8 = 0b1100;
const AGAIN: u8 = 0b0100;
const OVERLAPPING: u8 = 0b1000;
const AHEAD: u8 = 0b1100;
/// Bits of the first byte. Their value is added to the length in the second byte, so payloads have up to 255 + 240 =
/// 495 bytes. One run of every program parses such a packet completely.
const LONGER: u8 = 0xf0;

/// Reads all packets from the bytes.
pub(super) fn read(mut bytes: &[u8]) -> Vec<FuzzPacket> {
    let mut packets = Vec::new();
    while let [what, length, rest @ ..] = bytes {
        let (place, rest) = match (what & PLACES, rest) {
            (AHEAD, [count, rest @ ..]) if *count >= 128 => {
                (PacketPlace::Late(count & LATEST), rest)
            }
            (AGAIN, [distance, rest @ ..]) => (PacketPlace::Again(*distance), rest),
            (OVERLAPPING, [distance, rest @ ..]) => (PacketPlace::Overlapping(*distance), rest),
            (AHEAD, [distance, rest @ ..]) => (PacketPlace::Ahead(*distance), rest),
            (_, rest) => (PacketPlace::Next, rest),
        };
        let length = usize::from(*length) + usize::from(what & LONGER);
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        packets.push(FuzzPacket {
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
    packets
}

/// Encodes packets as a seed (a first input of the fuzzer). Each packet begins where the packet before it ends.
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
            let packets = read.iter().filter(|packet| packet.side == side);
            packets
                .flat_map(|packet| packet.payload.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Side::Requests), payload);
        assert_eq!(of(Side::Responses), b"y");
        assert!(
            read.iter()
                .all(|packet| packet.place == PacketPlace::Next && !packet.fin)
        );
    }
}
