//! A model of the out-of-order buffer, stored and read as in `ebpf/programs/src/out_of_order`.
//!
//! In this model, one connection has the memory of the whole node, so only the limits of a connection apply.

use std::collections::HashMap;

use ebb_abi::{Exclusion, event};
use ebb_parser::{
    conn::state,
    direction::{Direction, Segment, Side, flag},
    http2::Http2,
    out_of_order::{OutOfOrderBuffer, PIECE, PiecePlace},
    packet::Packet,
    protocol::Protocol as _,
    serialisation::IngressSerialisation,
    steps,
    window::{LOAD, Window},
};

use crate::{
    ledger::Ledger,
    packet::Slice,
    wire::{Arrival, Kernel, Wire},
};

/// The out-of-order buffer of a connection, and its pieces by the sequence numbers of their first bytes.
pub(crate) struct OutOfOrderModel {
    buffer: Box<OutOfOrderBuffer>,
    pieces: HashMap<u32, Vec<u8>>,
}

impl OutOfOrderModel {
    fn new() -> Self {
        Self {
            buffer: Box::new(OutOfOrderBuffer::EMPTY),
            pieces: HashMap::new(),
        }
    }

    /// Works like `drain::next`.
    fn next(
        &mut self,
        direction: &mut Direction,
        serialisation: &mut IngressSerialisation,
        ledger: &Ledger,
    ) -> Option<(Piece, Segment)> {
        if self.buffer.has_read(direction.next) {
            self.pieces.remove(&self.buffer.found().first);
            self.buffer.free_found();
        }
        let mut segment = Segment {
            first: direction.next,
            length: 0,
            offset: 0,
            flags: 0,
        };
        if !self.buffer.holds(direction.next) {
            if direction.has(flag::MIDWAY) {
                return Some((Piece(Vec::new()), direction.arrived(segment)));
            }
            serialisation.record_empty(ledger, || self.buffer.is_empty());
            return None;
        }
        let place = self.buffer.found();
        let piece = self.pieces.get(&place.first)?;
        segment.first = place.first;
        segment.length = place.length;
        Some((Piece(piece.clone()), direction.arrived(segment)))
    }
}

impl OutOfOrderModel {
    /// Stores a segment, like `store::store` of the kernel programs. Returns whether the segment has been stored, or
    /// `None` if another run of the program has to continue.
    fn store(&mut self, arrival: &mut Arrival<'_>) -> Option<bool> {
        let segment = arrival.segment;
        for _ in 0..steps::PIECES {
            let done = arrival.stored_bytes;
            if done >= segment.length {
                return Some(true);
            }
            let length = (segment.length - done).min(PIECE as u32);
            let first = segment.first.wrapping_add(done);
            let claim = self.buffer.claim(first, length);
            if claim.is_full() {
                return Some(false);
            }
            if claim.stored_length() != 0 {
                arrival.stored_bytes = done + claim.stored_length().min(length);
                continue;
            }
            let bytes = &arrival.payload[done as usize..][..length as usize];
            self.pieces.insert(first, bytes.to_vec());
            self.buffer
                .set_place(claim.index(), PiecePlace { first, length });
            arrival.stored_bytes = done + length;
        }
        None
    }
}

/// A piece that the parsers read like a packet.
struct Piece(Vec<u8>);

impl Packet for Piece {
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        let offset = offset as usize;
        assert!(
            offset + length as usize <= self.0.len(),
            "behind a piece's end"
        );
        // The kernel always copies `LOAD` bytes, including bytes after the piece.
        let mut bytes = self.0[offset..].to_vec();
        bytes.resize(LOAD as usize, 0);
        Slice::copy(&bytes, window, at);
        true
    }

    fn excludes(&self, path: &Exclusion) -> bool {
        Slice(&[]).excludes(path)
    }

    fn has_exclusions(&self) -> bool {
        true
    }
}

impl Wire {
    /// Works like `store::store_packet`.
    pub(crate) fn store_packet(&mut self, mut arrival: Arrival<'_>) {
        if !self.conn.is(state::TUNNEL | state::OPAQUE) {
            let mut model = self
                .out_of_order
                .take()
                .unwrap_or_else(OutOfOrderModel::new);
            let stored = model.store(&mut arrival);
            self.out_of_order = Some(model);
            match (stored, arrival.go_on()) {
                (None, Some(next)) => return self.store_packet(next),
                (Some(true), _) => self.conn.serialisation.record_buffered(),
                (None | Some(false), _) => {
                    self.conn.lose(&mut self.ledger, event::OUT_OF_ORDER_FULL)
                }
            }
        }
        self.go_on(arrival);
    }

    /// Reads the out-of-order buffer on HTTP/1, like `drain::drain_http1`, or like `drain_all_http1` if the kernel has
    /// `bpf_loop`.
    pub(crate) fn drain_http1(&mut self, mut arrival: Arrival<'_>) {
        if !self.acquire_to_drain(&mut arrival) {
            return;
        }
        if self.conn.is(state::HTTP2) {
            // The rest of the buffer is HTTP/2. The code after this `if` reads it.
        } else if self.conn.serialisation.has_lost() {
            self.conn.give_up(Side::Requests, &mut self.ledger);
        } else {
            match self.kernel {
                Kernel::New => while self.read_http1() {},
                Kernel::Old => {
                    if self.read_http1() {
                        if let Some(next) = arrival.go_on() {
                            return self.drain_http1(next);
                        }
                        self.conn.give_up(Side::Requests, &mut self.ledger);
                    }
                }
            }
        }
        if self.conn.is(state::HTTP2)
            && let Some(next) = arrival.go_on()
        {
            return self.drain_http2(next);
        }
        self.release(arrival);
    }

    /// Reads the out-of-order buffer on HTTP/2, like `drain::drain_http2`, or like `drain_all_http2` if the kernel has
    /// `bpf_loop`.
    pub(crate) fn drain_http2(&mut self, arrival: Arrival<'_>) {
        if let Some(http2) = &mut self.http2 {
            http2.requests.begin_packet();
        }
        if self.conn.serialisation.has_lost() {
            self.give_up_http2();
        } else {
            match self.kernel {
                Kernel::New => while self.read_http2() {},
                Kernel::Old => {
                    if self.read_http2() {
                        if let Some(next) = arrival.go_on() {
                            return self.drain_http2(next);
                        }
                        self.give_up_http2();
                    }
                }
            }
        }
        self.release(arrival);
    }

    /// Works like `drain::give_up` on HTTP/2.
    fn give_up_http2(&mut self) {
        if let Some(http2) = &mut self.http2 {
            http2.give_up(Side::Requests, &mut self.ledger);
        }
    }

    /// Works like `drain::read` on HTTP/1.
    fn read_http1(&mut self) -> bool {
        let Some(model) = &mut self.out_of_order else {
            return false;
        };
        if self.conn.requests.has(flag::UNREADABLE) {
            self.conn.leave(Side::Requests, &mut self.ledger);
            return false;
        }
        let Some((piece, segment)) = model.next(
            &mut self.conn.requests,
            &mut self.conn.serialisation,
            &self.ledger,
        ) else {
            return false;
        };
        self.conn.requests.flags &= !flag::MIDWAY;
        let more = self.steps(steps::PIECE, |wire| {
            let ledger = &mut wire.ledger;
            wire.conn.step(Side::Requests, &piece, ledger, segment)
        });
        if more {
            self.conn.requests.flags |= flag::MIDWAY;
            return true;
        }
        if self.conn.requests.has(flag::HTTP2) {
            let http2 = self.http2.get_or_insert_with(|| Box::new(Http2::ZERO));
            if http2.take_over(Side::Requests, &mut self.conn, &mut self.ledger) {
                return false;
            }
            self.conn.requests.flags |= flag::UNREADABLE;
            self.conn.requests.flags &= !flag::HTTP2;
        }
        self.conn.leave(Side::Requests, &mut self.ledger);
        true
    }

    /// Works like `drain::read` on HTTP/2.
    fn read_http2(&mut self) -> bool {
        let (Some(model), Some(http2)) = (&mut self.out_of_order, &mut self.http2) else {
            return false;
        };
        if http2.requests.direction.has(flag::UNREADABLE) {
            http2.leave(Side::Requests, &mut self.ledger);
            return false;
        }
        let Some((piece, segment)) = model.next(
            &mut http2.requests.direction,
            &mut self.conn.serialisation,
            &self.ledger,
        ) else {
            return false;
        };
        http2.requests.direction.flags &= !flag::MIDWAY;
        let more = self.steps(steps::PIECE, |wire| {
            let Some(http2) = &mut wire.http2 else {
                return false;
            };
            http2.step(Side::Requests, &piece, &mut wire.ledger, segment)
        });
        let Some(http2) = &mut self.http2 else {
            return false;
        };
        if more {
            http2.requests.direction.flags |= flag::MIDWAY;
        } else {
            http2.leave(Side::Requests, &mut self.ledger);
        }
        true
    }
}
