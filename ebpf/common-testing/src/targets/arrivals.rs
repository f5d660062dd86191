//! Packets of both directions, as bytes for a fuzzer: two bytes say what the packet is, then comes its payload.

use ebb_common::direction::Side;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) side: Side,
    /// Where it lies.
    pub(super) place: Place,
    /// The sender's last.
    pub(super) fin: bool,
    pub(super) payload: Vec<u8>,
}

/// Where a packet lies, seen from the end of all that its side has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There.
    Next,
    /// So far back, without anything new: it is a copy of what came before.
    Again(u8),
    /// So far back, in a copy of what came before, and then its own.
    Overlapping(u8),
    /// So far ahead: what is between never comes.
    Ahead(u8),
    /// There, but so many packets of its side overtake it.
    Late(u8),
}

/// Packets that overtake another one at most.
pub(super) const LATEST: u8 = 7;

const SERVER: u8 = 1;
const FIN: u8 = 1 << 1;
/// A second byte follows, with the place's distance.
const PLACES: u8 = 0b1100;
const AGAIN: u8 = 0b0100;
const OVERLAPPING: u8 = 0b1000;
const AHEAD: u8 = 0b1100;
/// The payload is so much longer than the second byte says: up to 495 bytes, which no program needs more steps
/// for than it has.
const LONGER: u8 = 0xf0;

/// Reads all packets there are.
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

/// Packets that are read as these, each next to the one before: for seeds.
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
