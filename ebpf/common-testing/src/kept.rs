//! What has come before its turn, kept and read as `ebpf/src/stash.rs` does.
//!
//! One connection has all the memory to itself here: only its own limits are met.

use std::collections::HashMap;

use ebb_common::{
    abi::Exclusion,
    conn::state,
    direction::{Direction, Segment, Side, flag},
    http1,
    http2::{self, Http2},
    packet::Packet,
    stash::{PIECE, PIECES, Place, Stash},
    window::{LOAD, Window},
};

use crate::{
    packet::Slice,
    wire::{Arrival, Kernel, Wire},
};

/// Pieces kept in one run.
const PIECES_A_RUN: usize = 2;

/// Steps of one run through a piece.
const STEPS: usize = 4;

/// A connection's stash, and its pieces by their first bytes' sequence numbers.
pub(crate) struct Kept {
    stash: Box<Stash>,
    pieces: HashMap<u32, Vec<u8>>,
}

impl Kept {
    fn new() -> Self {
        let nothing = Place {
            first: 0,
            length: 0,
        };
        Self {
            stash: Box::new(Stash {
                socket: 0,
                done: 0,
                found: 0,
                places: [nothing; PIECES],
            }),
            pieces: HashMap::new(),
        }
    }

    /// As `stash::next`.
    fn next(&mut self, direction: &mut Direction) -> Option<(Piece, Segment)> {
        if self.stash.has_read(direction.next) {
            // As `stash::forget`.
            let place = self.stash.found();
            self.pieces.remove(&place.first);
            place.length = 0;
        }
        let mut segment = Segment {
            first: direction.next,
            length: 0,
            offset: 0,
            flags: 0,
        };
        if !self.stash.holds(direction.next) {
            if direction.has(flag::MIDWAY) {
                return Some((Piece(Vec::new()), direction.arrived(segment)));
            }
            if self.stash.is_empty() {
                direction.stashed = 0;
            }
            return None;
        }
        let place = *self.stash.found();
        let piece = self.pieces.get(&place.first)?;
        segment.first = place.first;
        segment.length = place.length;
        Some((Piece(piece.clone()), direction.arrived(segment)))
    }
}

/// A piece as the bytes of a packet.
struct Piece(Vec<u8>);

impl Packet for Piece {
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        let offset = offset as usize;
        assert!(
            offset + length as usize <= self.0.len(),
            "behind a piece's end"
        );
        // So much is always copied, with what lies behind the piece.
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
    /// The way in, where it is read now.
    fn way_in(&mut self) -> Option<&mut Direction> {
        if !self.conn.is(state::HTTP2) {
            return Some(&mut self.conn.requests);
        }
        let http2 = self.http2.as_mut()?;
        Some(&mut http2.requests.direction)
    }

    /// As `stash::keep`.
    pub(crate) fn keep(&mut self, arrival: Arrival<'_>) {
        let mut kept = self.kept.take().unwrap_or_else(Kept::new);
        let stored = self.store_in(&mut kept, arrival);
        self.kept = Some(kept);
        let next = arrival.go_on();
        match (stored, next) {
            (None, Some(next)) => return self.keep(next),
            (Some(true), _) => {}
            (None | Some(false), _) => {
                if let Some(direction) = self.way_in() {
                    direction.flags |= flag::UNREADABLE;
                }
            }
        }
        let Some(next) = next else { return };
        if self.conn.is(state::HTTP2) {
            self.fill_http2(next);
        } else {
            self.fill_http1(next);
        }
    }

    /// As `stash::store`. `None` if it is to go on.
    fn store_in(&mut self, kept: &mut Kept, arrival: Arrival<'_>) -> Option<bool> {
        let direction = self.way_in()?;
        if !direction.has(flag::UNFINISHED) {
            kept.stash.done = 0;
            direction.stashed = 1;
        }
        direction.flags &= !flag::UNFINISHED;
        let segment = direction.arrived(arrival.segment);
        for _ in 0..PIECES_A_RUN {
            let done = kept.stash.done;
            if done >= segment.length {
                return Some(true);
            }
            let length = (segment.length - done).min(PIECE as u32);
            let first = segment.first.wrapping_add(done);
            kept.stash.done = done + length;
            if kept.stash.starts_at(first) {
                if kept.stash.found().length >= length {
                    continue;
                }
            } else if !kept.stash.has_room() {
                return Some(false);
            }
            let bytes = &arrival.payload[done as usize..][..length as usize];
            kept.pieces.insert(first, bytes.to_vec());
            *kept.stash.found() = Place { first, length };
        }
        direction.flags |= flag::UNFINISHED;
        None
    }

    /// As `stash::fill_http1`, or `fill_all_http1`.
    pub(crate) fn fill_http1(&mut self, arrival: Arrival<'_>) {
        match self.kernel {
            Kernel::New => while self.read_http1() {},
            Kernel::Old => {
                if self.read_http1()
                    && let Some(arrival) = arrival.go_on()
                {
                    return self.fill_http1(arrival);
                }
            }
        }
        // As `stash::go_on_in_http2`.
        if self.conn.is(state::HTTP2)
            && let Some(arrival) = arrival.go_on()
        {
            self.fill_http2(arrival);
        }
    }

    /// As `stash::fill_http2`, or `fill_all_http2`.
    pub(crate) fn fill_http2(&mut self, arrival: Arrival<'_>) {
        match self.kernel {
            Kernel::New => while self.read_http2() {},
            Kernel::Old => {
                if self.read_http2()
                    && let Some(arrival) = arrival.go_on()
                {
                    self.fill_http2(arrival);
                }
            }
        }
    }

    /// As `stash::read_http1`.
    fn read_http1(&mut self) -> bool {
        let Some(kept) = &mut self.kept else {
            return false;
        };
        if self.conn.requests.has(flag::UNREADABLE) {
            http1::leave(Side::Requests, &mut self.conn, &mut self.ledger);
            return false;
        }
        let Some((piece, segment)) = kept.next(&mut self.conn.requests) else {
            return false;
        };
        self.conn.requests.flags &= !flag::MIDWAY;
        let more = self.steps(STEPS, |wire| {
            let ledger = &mut wire.ledger;
            http1::step(Side::Requests, &mut wire.conn, &piece, ledger, segment)
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
        http1::leave(Side::Requests, &mut self.conn, &mut self.ledger);
        true
    }

    /// As `stash::read_http2`.
    fn read_http2(&mut self) -> bool {
        let (Some(kept), Some(http2)) = (&mut self.kept, &mut self.http2) else {
            return false;
        };
        if http2.requests.direction.has(flag::UNREADABLE) {
            http2::leave(Side::Requests, http2, &mut self.ledger);
            return false;
        }
        let Some((piece, segment)) = kept.next(&mut http2.requests.direction) else {
            return false;
        };
        http2.requests.direction.flags &= !flag::MIDWAY;
        let more = self.steps(STEPS, |wire| {
            let Some(http2) = &mut wire.http2 else {
                return false;
            };
            http2::step(Side::Requests, http2, &piece, &mut wire.ledger, segment)
        });
        let Some(http2) = &mut self.http2 else {
            return false;
        };
        if more {
            http2.requests.direction.flags |= flag::MIDWAY;
        } else {
            http2::leave(Side::Requests, http2, &mut self.ledger);
        }
        true
    }
}
