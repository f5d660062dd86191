//! Stores segments in the out-of-order buffer. Several CPUs may store segments of one connection at once.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_NOEXIST, helpers::generated::bpf_get_socket_cookie,
    programs::SkBuffContext,
};
use ebb_abi::{event, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Segment, Side},
    out_of_order::{OutOfOrderBuffer, PIECE, PIECES, PieceKey, PiecePlace},
    packet::Meter as _,
    steps,
};

use super::{
    piece::{key, load},
    share::Share,
};
use crate::{
    maps::{EEXIST, NO_PIECE, PIECES_KEPT, connection, go_on_in, make_out_of_order_buffer},
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
    if connection.is(state::TUNNEL | state::OPAQUE)
        || (connection.is(state::ATTACHING) && !connection.is(state::HTTP2))
    {
        // The segment is not stored, because the parsers would not read it.
    } else {
        match store(context, &header, connection, &pod) {
            Ok(()) => connection.serialisation.record_buffered(),
            Err(event) => connection.lose(&mut pod, event),
        }
    }
    serialisation::go_on(context, connection, &pod);
}

/// Stores a segment in pieces. If there is no room, fails with the event that the caller must report.
#[inline(always)]
fn store(
    context: &SkBuffContext,
    header: &Header,
    connection: &Conn,
    pod: &Pod,
) -> Result<(), usize> {
    let (Some(buffer), Some(share)) = (make_out_of_order_buffer(header.socket), Share::of(pod))
    else {
        return Err(event::OUT_OF_ORDER_FULL);
    };
    // SAFETY: socket storage is valid while the program runs; each CPU writes only to places that it has claimed.
    let buffer = unsafe { &mut *buffer };
    // SAFETY: the pointer is the program's context.
    buffer.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let segment = header.segment;
    for _ in 0..steps::PIECES {
        let done = serialisation::stored_bytes(context);
        if done >= segment.length {
            return Ok(());
        }
        let done = store_piece(context, buffer, connection, pod, &share, segment, done)?;
        serialisation::set_stored_bytes(context, done);
    }
    go_on_in(context, Side::Requests, ingress::OUT_OF_ORDER_STORE);
    // Only a segment with more pieces than a packet can have reaches this line.
    Err(event::OUT_OF_ORDER_FULL)
}

/// Stores one piece of a segment: the bytes that follow its first `done` bytes. Returns the number of bytes of the
/// segment that are stored then. If there is no room, fails with the event that the caller must report.
#[inline(always)]
fn store_piece(
    context: &SkBuffContext,
    buffer: &mut OutOfOrderBuffer,
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
    let lock = &raw mut buffer.lock;
    let claim = pod.locked(lock, || buffer.claim(first, length));
    if claim.is_full() {
        return Err(event::OUT_OF_ORDER_FULL);
    }
    let there = claim.stored_length();
    if there != 0 {
        return Ok(done + if there < length { there } else { length });
    }
    if !share.has_room() {
        buffer.set_place(claim.index(), PiecePlace::FREE);
        return Err(event::OUT_OF_ORDER_SHARE_FULL);
    }
    let key = key(buffer, first);
    let is_made = match NO_PIECE.get(0) {
        Some(blank) => match PIECES_KEPT.insert(key, blank, u64::from(BPF_NOEXIST)) {
            Ok(()) => {
                share.take();
                true
            }
            // If the map has the key already, the program `handshake_read` has just stored and counted this piece.
            Err(error) => error == EEXIST,
        },
        None => false,
    };
    let stored = is_made
        && PIECES_KEPT
            .get_ptr_mut(key)
            .is_some_and(|piece| load(context, segment.offset.wrapping_add(done), piece, length));
    let place = if stored {
        PiecePlace { first, length }
    } else {
        PiecePlace::FREE
    };
    buffer.set_place(claim.index(), place);
    // A connection that closes frees all its pieces. If the connection was closed while this program ran, this piece
    // may have been stored too late to be freed. So this program frees it.
    if !stored || connection.is_closed_now() {
        remove(key, share);
    }
    if stored {
        Ok(done + length)
    } else {
        Err(event::OUT_OF_ORDER_FULL)
    }
}

/// Frees a piece, if it exists. If several CPUs free the piece at once, only one of them subtracts it from the counters
/// of pieces.
#[inline(always)]
pub fn remove(key: PieceKey, share: &Share) {
    if PIECES_KEPT.remove(key).is_ok() {
        share.give_back();
    }
}

/// Frees all pieces of a connection that closes.
#[inline(always)]
pub fn clear(buffer: Option<*mut OutOfOrderBuffer>, pod: &Pod) {
    let (Some(buffer), Some(share)) = (buffer, Share::of(pod)) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let buffer = unsafe { &mut *buffer };
    for index in 0..PIECES {
        let place = buffer.places[index];
        if place != PiecePlace::FREE {
            remove(key(buffer, place.first), &share);
            buffer.set_place(index as u32, PiecePlace::FREE);
        }
    }
}
