//! Puts segments aside. Several CPUs may do so at once, for one connection.

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_socket_cookie, programs::SkBuffContext,
};
use ebb_common::{
    abi::{event, ingress},
    conn::{Conn, state},
    direction::{Segment, Side},
    packet::Meter as _,
    stash::{PIECE, PIECES, Place, Stash},
    steps,
};

use super::piece::{key, load};
use crate::{
    maps::{NO_PIECE, PIECES_KEPT, connection, go_on_in, make_stash},
    meter::Pod,
    segment::Header,
    turn,
};

/// Puts aside what a packet brings.
#[inline(always)]
pub fn keep(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(connection) = connection(header.socket) else {
        return;
    };
    // SAFETY: socket storage, as long as the program runs.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    if connection.is(state::TUNNEL | state::OPAQUE | state::JOINING) {
        // Nobody reads it.
    } else if store(context, &header, connection, &pod) {
        connection.turn.put_aside();
    } else {
        connection.lose(&mut pod, event::NO_ROOM);
    }
    turn::go_on(context, connection, &pod);
}

/// `false` if there is no room.
#[inline(always)]
fn store(context: &SkBuffContext, header: &Header, connection: &Conn, pod: &Pod) -> bool {
    let Some(stash) = make_stash(header.socket) else {
        return false;
    };
    // SAFETY: socket storage; each writes to places of its own only.
    let stash = unsafe { &mut *stash };
    // SAFETY: the program's context.
    stash.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let segment = header.segment;
    for _ in 0..steps::PIECES {
        let done = turn::put_aside(context);
        if done >= segment.length {
            return true;
        }
        let Some(done) = store_piece(context, stash, connection, pod, segment, done) else {
            return false;
        };
        turn::set_put_aside(context, done);
    }
    go_on_in(context, Side::Requests, ingress::KEEP);
    // More than a packet can have.
    false
}

/// Puts aside one piece of a segment, of which so many bytes have been. How many there are then; `None` if there is
/// no room.
#[inline(always)]
fn store_piece(
    context: &SkBuffContext,
    stash: &mut Stash,
    connection: &Conn,
    pod: &Pod,
    segment: Segment,
    done: u32,
) -> Option<u32> {
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
        return None;
    }
    let there = claim.there();
    if there != 0 {
        return Some(done + if there < length { there } else { length });
    }
    let key = key(stash, first);
    let blank = NO_PIECE.get(0)?;
    let stored = PIECES_KEPT.insert(key, blank, 0).is_ok()
        && PIECES_KEPT
            .get_ptr_mut(key)
            .is_some_and(|piece| load(context, segment.offset.wrapping_add(done), piece, length));
    let place = if stored {
        Place { first, length }
    } else {
        Place::FREE
    };
    stash.settle(claim.index(), place);
    // Closed meanwhile: what was there then has been freed, but perhaps not this.
    if !stored || connection.is_closed_now() {
        let _ = PIECES_KEPT.remove(key);
    }
    if stored { Some(done + length) } else { None }
}

/// Frees all that a connection has put aside, as it closes.
#[inline(always)]
pub fn clear(stash: Option<*mut Stash>) {
    let Some(stash) = stash else {
        return;
    };
    // SAFETY: socket storage.
    let stash = unsafe { &mut *stash };
    for index in 0..PIECES {
        let place = stash.places[index];
        if place != Place::FREE {
            let _ = PIECES_KEPT.remove(key(stash, place.first));
            stash.settle(index as u32, Place::FREE);
        }
    }
}
