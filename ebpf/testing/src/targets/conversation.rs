//! A fuzz target: any packets of both directions, in any protocol. Packets are lost, repeated and overtaken.
//!
//! Nothing may panic, and the ledger's rules must hold. If no bytes are lost forever, the counts must be those of the
//! same streams delivered byte by byte, each byte when all bytes before it have arrived. This does not hold after bytes
//! that cannot be read: then only the beginnings of segments are examined.

use std::ops::Range;

use ebb_abi::ended;
use ebb_parser::direction::{Segment, Side};

use super::{
    Target,
    packets::{FuzzPacket, PacketPlace, read, write},
};
use crate::{
    http2::{
        PREFACE,
        frames::{END_STREAM, data, headers, reset, settings},
        headers::{Field, HUFFMAN, INSERT, block},
    },
    ledger::Figures,
    wire::Wire,
};

pub(super) const TARGET: Target = Target {
    name: "conversation",
    run,
    seeds,
};

/// Time between packets, ns.
const PAUSE: u64 = 1_000_000;

/// Sequence numbers of the first byte from the client and of the first byte to the client. Both sequence numbers wrap
/// soon.
const FIRST: [u32; 2] = [u32::MAX - 100, u32::MAX - 20];

fn run(bytes: &[u8]) {
    let packets = read(bytes);
    let (arrived, resumed) = play(&packets, false);
    let lost = |packet: &FuzzPacket| matches!(packet.place, PacketPlace::Ahead(_));
    if !packets.iter().any(lost) {
        let (mut read, read_resumed) = play(&packets, true);
        if resumed || read_resumed {
            return;
        }
        let late = |packet: &FuzzPacket| matches!(packet.place, PacketPlace::Late(_));
        if read.ended[ended::OPAQUE] > 0 || packets.iter().any(late) {
            // `arrived` is the result of the delivery in packets, `read` that of the delivery byte by byte. The
            // latencies and the integral of requests in flight over time can differ between them in two cases, so they
            // are not compared. First: the connection becomes opaque. Then earlier requests are aborted with the next
            // egress packet, even if this packet is a retransmission, and the delivery byte by byte has no
            // retransmissions. Second: packets are late. Then the bytes after a body are read as soon as they arrive,
            // even if a part of the body is missing.
            read.area = arrived.area;
            read.latency = arrived.latency;
        }
        assert_eq!(read, arrived, "byte by byte");
    }
}

/// One side of the connection.
#[derive(Default)]
struct Half {
    first: u32,
    /// All bytes that this side has sent.
    stream: Vec<u8>,
    /// Ranges that have been sent and have not arrived, each with the number of packets that may still overtake it.
    late: Vec<(Range<usize>, u8)>,
    /// Ranges of the stream that have arrived, in the order of arrival.
    came: Vec<Range<usize>>,
    /// Position up to which all bytes have arrived.
    known: usize,
}

impl Half {
    /// Returns the ranges that arrive with this packet, in the order of arrival.
    fn arrives(&mut self, side: Side, packet: &FuzzPacket) -> Vec<Range<usize>> {
        let end = self.stream.len();
        let length = packet.payload.len();
        let mut come = Vec::new();
        match packet.place {
            PacketPlace::Again(back) => {
                let end = end.saturating_sub(usize::from(back));
                come.push(end.saturating_sub(length)..end);
            }
            PacketPlace::Ahead(distance) => {
                self.stream.resize(end + usize::from(distance), 0);
                come.push(self.stream.len()..self.stream.len() + length);
            }
            PacketPlace::Overlapping(back) => {
                come.push(end.saturating_sub(usize::from(back))..end + length)
            }
            // Only the client's packets can be late: the programs see each packet of the server when the server sends
            // the packet, so no other packet can overtake it.
            PacketPlace::Late(count) if side == Side::Requests => {
                self.late.push((end..end + length, count + 1));
            }
            PacketPlace::Next | PacketPlace::Late(_) => come.push(end..end + length),
        }
        if !matches!(packet.place, PacketPlace::Again(_)) {
            self.stream.extend(&packet.payload);
        }
        self.late.retain_mut(|(range, count)| {
            *count -= 1;
            if *count == 0 {
                come.push(range.clone());
            }
            *count != 0
        });
        come
    }

    /// Lets all delayed ranges arrive, and returns them.
    fn all_late(&mut self) -> Vec<Range<usize>> {
        self.late.drain(..).map(|(range, _)| range).collect()
    }

    /// Returns the bytes that can be read for the first time after the arrival of the ranges `come`.
    fn newly_readable(&mut self, come: &[Range<usize>]) -> Range<usize> {
        let from = self.known;
        self.came.extend_from_slice(come);
        while let Some(next) = self
            .came
            .iter()
            .find(|range| range.start <= self.known && range.end > self.known)
        {
            self.known = next.end;
        }
        from..self.known
    }
}

/// Delivers packets. If `byte_by_byte` is true, delivers each byte separately, when all bytes before it have arrived.
/// Returns the counts, and whether a message was recognised after bytes that could not be read.
fn play(packets: &[FuzzPacket], byte_by_byte: bool) -> (Figures, bool) {
    let mut wire = Wire::open(FIRST[0], FIRST[1]);
    let mut halves = FIRST.map(|first| Half {
        first,
        ..Half::default()
    });
    let comes = |wire: &mut Wire, side: Side, half: &mut Half, come: &[Range<usize>], flags| {
        wire.ledger.pass(PAUSE);
        let ranges: Vec<Range<usize>> = if byte_by_byte {
            half.newly_readable(come).map(|at| at..at + 1).collect()
        } else {
            come.to_vec()
        };
        for range in ranges {
            let first = half.first.wrapping_add(range.start as u32);
            wire.deliver(side, first, &half.stream[range], 0);
        }
        let end = half.first.wrapping_add(half.stream.len() as u32);
        wire.deliver(side, end, &[], flags);
    };
    for packet in packets {
        if packet.side == Side::Responses {
            // A server does not respond to bytes that it has not received.
            let half = &mut halves[Side::Requests as usize];
            let late = half.all_late();
            comes(&mut wire, Side::Requests, half, &late, 0);
        }
        let half = &mut halves[packet.side as usize];
        let come = half.arrives(packet.side, packet);
        let flags = if packet.fin { Segment::FIN } else { 0 };
        comes(&mut wire, packet.side, half, &come, flags);
    }
    let half = &mut halves[Side::Requests as usize];
    let late = half.all_late();
    comes(&mut wire, Side::Requests, half, &late, 0);
    wire.close();
    (wire.figures().clone(), wire.conn.resumed > 0)
}

fn seeds() -> Vec<Vec<u8>> {
    use Side::{Requests as C, Responses as S};
    let get: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let ok: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunked: &[u8] =
        b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let head: &[u8] = b"HEAD / HTTP/1.1\r\nUser-Agent: kube-probe/1\r\n\r\n";
    let upgrade: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n";
    let h2c: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    let websocket: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let hello = [PREFACE.as_slice(), &settings()].concat();
    let asked = headers(
        1,
        END_STREAM,
        block(&[
            Field::Indexed(2),
            Field::Named(4, "/metrics", INSERT | HUFFMAN),
        ]),
    );
    let more = [headers(3, 0, [0x82]), data(3, END_STREAM, "x"), reset(3)].concat();
    let answered = [settings(), headers(1, 0, [0x88]), data(1, END_STREAM, "x")].concat();
    vec![
        write(&[(C, get), (S, ok)]),
        write(&[
            (C, get),
            (C, head),
            (S, chunked),
            (S, ok),
            (
                C,
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            ),
        ]),
        write(&[
            (C, b"CONNECT a HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\n\r\nanything"),
        ]),
        write(&[
            (C, get),
            (S, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (S, websocket),
            (C, get),
            (S, ok),
        ]),
        write(&[
            (C, &hello),
            (S, &settings()),
            (C, &asked),
            (C, &more),
            (S, &answered),
        ]),
        write(&[(S, &settings()), (C, &hello), (C, &asked), (S, &answered)]),
        write(&[
            (C, upgrade),
            (S, h2c),
            (S, &answered),
            (C, &hello),
            (C, &more),
        ]),
    ]
}
