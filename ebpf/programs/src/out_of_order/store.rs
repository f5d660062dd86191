//! Stores segments in the out-of-order buffer. Several CPUs may store segments of one connection at once.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_NOEXIST, helpers::generated::bpf_get_socket_cookie,
    programs::SkBuffContext,
};
use ebb_abi::{event, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Segment, Side},
    out_of_order::{PIECE, PIECES, PieceKey, Place, Stash},
    packet::Meter as _,
    steps,
};

use super::{
    piece::{key, load},
    share::Share,
};
use crate::{
    maps::{EEXIST, NO_PIECE, PIECES_KEPT, connection, go_on_in, make_stash},
    meter::Pod,
    segment::Header,
    serialisation,
};

/// Stores the segment of a packet in the out-of-order buffer of its connection.
#[inline(always)]
pub fn store_packet(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(connection) = connection(header.socket) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    if connection.is(state::TUNNEL | state::OPAQUE | state::JOINING) {
        // The segment is not stored, because the parsers would not read it.
    } else {
        match store(context, &header, connection, &pod) {
            Ok(()) => connection.turn.put_aside(),
            Err(event) => connection.lose(&mut pod, event),
        }
    }
    serialisation::go_on(context, connection, &pod);
}

/// Stores a segment in pieces. Fails with the event to report if there is no room.
#[inline(always)]
fn store(
    context: &SkBuffContext,
    header: &Header,
    connection: &Conn,
    pod: &Pod,
) -> Result<(), usize> {
    let (Some(stash), Some(share)) = (make_stash(header.socket), Share::of(pod)) else {
        return Err(event::NO_ROOM);
    };
    // SAFETY: socket storage is valid while the program runs; each CPU writes only to places that it has claimed.
    let stash = unsafe { &mut *stash };
    // SAFETY: the pointer is the program's context.
    stash.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let segment = header.segment;
    for _ in 0..steps::PIECES {
        let done = serialisation::put_aside(context);
        if done >= segment.length {
            return Ok(());
        }
        let done = store_piece(context, stash, connection, pod, &share, segment, done)?;
        serialisation::set_put_aside(context, done);
    }
    go_on_in(context, Side::Requests, ingress::OUT_OF_ORDER_STORE);
    // This line is reached only by a segment with more pieces than a packet can have.
    Err(event::NO_ROOM)
}

/// Stores the next piece of a segment, after its first `done` bytes. Returns the number of bytes that are stored now.
/// Fails with the event to report if there is no room.
#[inline(always)]
fn store_piece(
    context: &SkBuffContext,
    stash: &mut Stash,
    connection: &Conn,
    pod: &Pod,
    share: &Share,
    segment: Segment,
    done: u32,
) -> Result<u32, usize> {
    let left = segment.length - done;
    let length = if left < PIECE as u32 {
        left
    } else {
        PIECE as u32
    };
    let first = segment.first.wrapping_add(done);
    let lock = &raw mut stash.lock;
    let claim = pod.locked(lock, || stash.claim(first, length));
    if claim.is_full() {
        return Err(event::NO_ROOM);
    }
    let there = claim.there();
    if there != 0 {
        return Ok(done + if there < length { there } else { length });
    }
    if !share.has_room() {
        stash.settle(claim.index(), Place::FREE);
        return Err(event::NO_SHARE);
    }
    let key = key(stash, first);
    let is_made = match NO_PIECE.get(0) {
        Some(blank) => match PIECES_KEPT.insert(key, blank, u64::from(BPF_NOEXIST)) {
            Ok(()) => {
                share.take();
                true
            }
            // If the key exists, the program `handshake_read` has just stored and counted this piece.
            Err(error) => error == EEXIST,
        },
        None => false,
    };
    let stored = is_made
        && PIECES_KEPT
            .get_ptr_mut(key)
            .is_some_and(|piece| load(context, segment.offset.wrapping_add(done), piece, length));
    let place = if stored {
        Place { first, length }
    } else {
        Place::FREE
    };
    stash.settle(claim.index(), place);
    // A connection that closes frees all its pieces. If this connection was closed while this program ran, this piece
    // may have been stored too late to be freed.
    if !stored || connection.is_closed_now() {
        remove(key, share);
    }
    if stored {
        Ok(done + length)
    } else {
        Err(event::NO_ROOM)
    }
}

/// Frees a piece, if it exists. If several CPUs free the piece at once, only one of them subtracts it from the share.
#[inline(always)]
pub fn remove(key: PieceKey, share: &Share) {
    if PIECES_KEPT.remove(key).is_ok() {
        share.give_back();
    }
}

/// Frees all pieces of a connection that closes.
#[inline(always)]
pub fn clear(stash: Option<*mut Stash>, pod: &Pod) {
    let (Some(stash), Some(share)) = (stash, Share::of(pod)) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let stash = unsafe { &mut *stash };
    for index in 0..PIECES {
        let place = stash.places[index];
        if place != Place::FREE {
            remove(key(stash, place.first), &share);
            stash.settle(index as u32, Place::FREE);
        }
    }
}
