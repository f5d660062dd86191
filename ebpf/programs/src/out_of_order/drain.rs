//! Reads the out-of-order buffer. Only the CPU that is reading the connection (ingress serialisation) reads its buffer.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_loop, bpf_tcp_sock},
    programs::SkBuffContext,
};
use ebb_abi::{PodRules, event, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Direction, Segment, Side, flag},
    http1,
    http2::{self, Http2},
    out_of_order::{PIECE, PIECES, Piece, Stash},
    serialisation::Turn,
    steps,
};

use super::{
    piece::{Kept, key},
    share::Share,
    store::remove,
};
use crate::{
    http2::take_over,
    maps::{NO_PIECE, PIECES_KEPT, RULES, connection, go_on_in, http2, stash},
    meter::Pod,
    segment::Header,
    serialisation,
};

/// Maximum number of iterations of a loop: enough for one step per byte of the buffer.
const RUNS: u32 = (PIECES * PIECE / steps::PIECE_IN_A_LOOP) as u32;

/// The data that is needed to read one piece of the out-of-order buffer.
pub struct Work<'a, T> {
    /// The socket of the connection.
    pub socket: *mut bpf_sock,
    /// The out-of-order buffer of the connection.
    pub stash: *mut Stash,
    /// The ingress serialisation of the connection.
    pub turn: *mut Turn,
    /// The HTTP/1 or HTTP/2 state of the connection.
    pub connection: *mut T,
    /// The counters of the pod.
    pub pod: Pod,
    /// The pod's rules.
    pub rules: &'a PodRules,
}

/// Returns the piece to be read next, and its segment. Returns `None` if the next byte is not in the buffer.
#[inline(always)]
fn next(
    stash: &mut Stash,
    direction: &mut Direction,
    turn: &mut Turn,
    pod: &Pod,
) -> Option<(*const Piece, Segment)> {
    // Each call follows the reading of one piece, so it frees at most one piece.
    if stash.has_read(direction.next) {
        remove(key(stash, stash.found().first), &Share::of(pod)?);
        stash.free_found();
    }
    if !stash.holds(direction.next) {
        if direction.has(flag::MIDWAY) {
            // The parser's window already holds the rest of the last piece, so the parser gets an empty segment.
            let blank = NO_PIECE.get_ptr(0)?;
            let segment = Segment {
                first: direction.next,
                length: 0,
                offset: 0,
                flags: 0,
            };
            return Some((blank, direction.arrived(segment)));
        }
        turn.keeps_nothing(pod, || stash.is_empty());
        return None;
    }
    let place = stash.found();
    let piece = PIECES_KEPT.get_ptr(key(stash, place.first))?;
    let segment = Segment {
        first: place.first,
        length: place.length,
        offset: 0,
        flags: 0,
    };
    Some((piece, direction.arrived(segment)))
}

/// Takes up to `STEPS` steps through the next piece, on HTTP/1. Returns `false` if there is nothing more to read on
/// HTTP/1.
#[inline(always)]
fn read_http1<const STEPS: usize>(work: &mut Work<'_, Conn>) -> bool {
    // SAFETY: socket storage is valid while the program runs; `turn` and the other fields of the connection that are
    // used here do not overlap.
    let (stash, turn, connection) =
        unsafe { (&mut *work.stash, &mut *work.turn, &mut *work.connection) };
    if connection.requests.has(flag::UNREADABLE) {
        http1::leave(Side::Requests, connection, &mut work.pod);
        return false;
    }
    let Some((piece, segment)) = next(stash, &mut connection.requests, turn, &work.pod) else {
        return false;
    };
    let packet = Kept {
        piece,
        rules: work.rules,
    };
    connection.requests.flags &= !flag::MIDWAY;
    for _ in 0..STEPS {
        if !http1::step(Side::Requests, connection, &packet, &mut work.pod, segment) {
            if connection.requests.has(flag::HTTP2) {
                if take_over(Side::Requests, connection, &mut work.pod, work.socket) {
                    return false;
                }
                connection.requests.flags |= flag::UNREADABLE;
                connection.requests.flags &= !flag::HTTP2;
            }
            http1::leave(Side::Requests, connection, &mut work.pod);
            return true;
        }
    }
    connection.requests.flags |= flag::MIDWAY;
    true
}

/// Takes up to `STEPS` steps through the next piece, on HTTP/2. Returns `false` if there is nothing more to read.
#[inline(always)]
fn read_http2<const STEPS: usize>(work: &mut Work<'_, Http2>) -> bool {
    // SAFETY: socket storage is valid while the program runs.
    let (stash, turn, http2) =
        unsafe { (&mut *work.stash, &mut *work.turn, &mut *work.connection) };
    if http2.requests.direction.has(flag::UNREADABLE) {
        http2::leave(Side::Requests, http2, &mut work.pod);
        return false;
    }
    let Some((piece, segment)) = next(stash, &mut http2.requests.direction, turn, &work.pod) else {
        return false;
    };
    let packet = Kept {
        piece,
        rules: work.rules,
    };
    http2.requests.direction.flags &= !flag::MIDWAY;
    for _ in 0..STEPS {
        if !http2::step(Side::Requests, http2, &packet, &mut work.pod, segment) {
            http2::leave(Side::Requests, http2, &mut work.pod);
            return true;
        }
    }
    http2.requests.direction.flags |= flag::MIDWAY;
    true
}

/// Makes the connection opaque, because the out-of-order buffer cannot be read.
#[inline(always)]
fn give_up_http1(connection: &mut Conn, pod: &mut Pod) {
    connection.requests.flags |= flag::UNREADABLE;
    http1::leave(Side::Requests, connection, pod);
}

/// Makes the connection opaque, on HTTP/2, because the out-of-order buffer cannot be read.
#[inline(always)]
fn give_up_http2(http2: &mut Http2, pod: &mut Pod) {
    http2.requests.direction.flags |= flag::UNREADABLE;
    http2::leave(Side::Requests, http2, pod);
}

/// Reads at most one typical request head from the out-of-order buffer, without `bpf_loop` and without a tail call. If
/// more is left to read, the connection becomes opaque.
#[inline(always)]
pub fn read_a_head(work: &mut Work<'_, Conn>) {
    read_http1::<{ steps::HEAD }>(work);
    // SAFETY: socket storage is valid while the program runs.
    let connection = unsafe { &mut *work.connection };
    if connection.requests.has(flag::MIDWAY) {
        give_up_http1(connection, &mut work.pod);
    }
}

/// Makes an HTTP/2 connection opaque: HTTP/2 has no typical head that could be read in one run.
#[inline(always)]
pub fn read_nothing(work: &mut Work<'_, Http2>) {
    // SAFETY: socket storage is valid while the program runs.
    give_up_http2(unsafe { &mut *work.connection }, &mut work.pod);
}

/// Reads all of the out-of-order buffer, on HTTP/1.
#[inline(always)]
pub fn read_all_http1(work: &mut Work<'_, Conn>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe { bpf_loop(RUNS, http1_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

/// Reads all of the out-of-order buffer, on HTTP/2.
#[inline(always)]
pub fn read_all_http2(work: &mut Work<'_, Http2>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe { bpf_loop(RUNS, http2_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

#[inline(never)]
extern "C" fn http1_run(_run: u64, work: *mut Work<'_, Conn>) -> i64 {
    // SAFETY: `read_all_http1` has passed this pointer, which outlives the loop.
    i64::from(!read_http1::<{ steps::PIECE_IN_A_LOOP }>(unsafe {
        &mut *work
    }))
}

#[inline(never)]
extern "C" fn http2_run(_run: u64, work: *mut Work<'_, Http2>) -> i64 {
    // SAFETY: `read_all_http2` has passed this pointer, which outlives the loop.
    i64::from(!read_http2::<{ steps::PIECE_IN_A_LOOP }>(unsafe {
        &mut *work
    }))
}

/// Reads the out-of-order buffer without `bpf_loop`, on HTTP/1: at most one piece, then the program calls itself.
#[inline(always)]
pub fn drain_http1(context: &SkBuffContext) {
    drain_http1_by(context, |work| {
        if read_http1::<{ steps::PIECE }>(work) {
            go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
            // SAFETY: socket storage is valid while the program runs.
            give_up_http1(unsafe { &mut *work.connection }, &mut work.pod);
        }
    });
}

/// Reads the out-of-order buffer with `bpf_loop`, on HTTP/1: all of it in one run.
#[inline(always)]
pub fn drain_all_http1(context: &SkBuffContext) {
    drain_http1_by(context, |work| read_all_http1(work));
}

/// Reads the out-of-order buffer without `bpf_loop`, on HTTP/2: at most one piece, then the program calls itself.
#[inline(always)]
pub fn drain_http2(context: &SkBuffContext) {
    drain_http2_by(context, |work| {
        if read_http2::<{ steps::PIECE }>(work) {
            go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
            // SAFETY: socket storage is valid while the program runs.
            give_up_http2(unsafe { &mut *work.connection }, &mut work.pod);
        }
    });
}

/// Reads the out-of-order buffer with `bpf_loop`, on HTTP/2: all of it in one run.
#[inline(always)]
pub fn drain_all_http2(context: &SkBuffContext) {
    drain_http2_by(context, |work| read_all_http2(work));
}

/// Records the sequence number up to which TCP has accepted data from the client. The number is passed through memory:
/// otherwise the verifier would track its bounds through all the parsing that follows.
#[inline(always)]
fn ask_tcp(socket: *mut bpf_sock, stash: *mut Stash, next: u32) {
    // SAFETY: the pointer is to the socket of the current packet.
    let tcp = unsafe { bpf_tcp_sock(socket) };
    let taken = if tcp.is_null() {
        next
    } else {
        // SAFETY: the field is part of the structure that the helper has returned.
        unsafe { (*tcp).rcv_nxt }
    };
    // SAFETY: socket storage is valid while the program runs.
    unsafe { &mut *stash }.tcp_has_taken(taken);
}

/// Returns true if TCP has accepted the next bytes and the programs never saw them. This should not happen. If it
/// happens, the connection must become opaque: if the programs waited for these bytes, they would silently count
/// nothing more on this connection.
#[inline(always)]
fn has_missed(stash: *mut Stash, direction: &Direction) -> bool {
    // SAFETY: socket storage is valid while the program runs.
    unsafe { &mut *stash }.misses(direction.next)
}

#[inline(always)]
fn drain_http1_by(context: &SkBuffContext, read: impl Fn(&mut Work<'_, Conn>)) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(connection) = connection(header.socket) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let (slot, own) = unsafe { ((*connection).slot, &mut *connection) };
    let (Some(mut pod), Some(rules)) = (Pod::of(slot), RULES.get(slot)) else {
        return;
    };
    if !serialisation::take_to_look(context, own, &pod) {
        return;
    }
    if own.is(state::HTTP2) {
        go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
    } else if own.turn.has_lost() {
        give_up_http1(own, &mut pod);
    } else if let Some(stash) = stash(header.socket) {
        ask_tcp(header.socket, stash, own.requests.next);
        read(&mut Work {
            socket: header.socket,
            stash,
            turn: &raw mut own.turn,
            connection,
            pod: pod.again(),
            rules,
        });
        // The last line of HTTP/1 may have been in the buffer: then the rest of the buffer is HTTP/2.
        if own.is(state::HTTP2) {
            go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
        }
        let is_read = !own.is(state::CLOSED | state::TUNNEL | state::OPAQUE);
        if is_read && has_missed(stash, &own.requests) {
            own.lose(&mut pod, event::MISSED);
        }
    }
    serialisation::give_up(context, own, &pod);
}

#[inline(always)]
fn drain_http2_by(context: &SkBuffContext, read: impl Fn(&mut Work<'_, Http2>)) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let (Some(connection), Some(http2)) = (connection(header.socket), http2(header.socket)) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let (slot, connection, own) = unsafe { ((*connection).slot, &mut *connection, &mut *http2) };
    let (Some(mut pod), Some(rules)) = (Pod::of(slot), RULES.get(slot)) else {
        return;
    };
    own.requests.begin_packet();
    if connection.turn.has_lost() {
        give_up_http2(own, &mut pod);
    } else if let Some(stash) = stash(header.socket) {
        ask_tcp(header.socket, stash, own.requests.direction.next);
        read(&mut Work {
            socket: header.socket,
            stash,
            turn: &raw mut connection.turn,
            connection: http2,
            pod: pod.again(),
            rules,
        });
        if own.is_read() && has_missed(stash, &own.requests.direction) {
            connection.lose(&mut pod, event::MISSED);
        }
    }
    if own.has_become_opaque() {
        connection.happened(event::UNREADABLE);
    }
    serialisation::give_up(context, connection, &pod);
}
