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
    http2::Http2,
    out_of_order::{OutOfOrderBuffer, PIECE, PIECES, Piece},
    protocol::Protocol,
    serialisation::IngressSerialisation,
    steps,
};

use super::{
    piece::{PiecePacket, key},
    share::Share,
    store::remove,
};
use crate::{
    http2::MayChange,
    maps::{NO_PIECE, PIECES_KEPT, RULES, connection, go_on_in, http2, out_of_order_buffer},
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
    pub buffer: *mut OutOfOrderBuffer,
    /// The ingress serialisation of the connection.
    pub serialisation: *mut IngressSerialisation,
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
    buffer: &mut OutOfOrderBuffer,
    direction: &mut Direction,
    serialisation: &mut IngressSerialisation,
    pod: &Pod,
) -> Option<(*const Piece, Segment)> {
    // This function is called after each piece that has been read, so it frees at most one piece.
    if buffer.has_read(direction.next) {
        remove(key(buffer, buffer.found().first), &Share::of(pod)?);
        buffer.free_found();
    }
    if !buffer.holds(direction.next) {
        if direction.has(flag::MIDWAY) {
            // The parser's window already holds the rest of the piece that was read last, so the parser gets an empty
            // segment.
            let blank = NO_PIECE.get_ptr(0)?;
            let segment = Segment {
                first: direction.next,
                length: 0,
                offset: 0,
                flags: 0,
            };
            return Some((blank, direction.arrived(segment)));
        }
        serialisation.record_empty(pod, || buffer.is_empty());
        return None;
    }
    let place = buffer.found();
    let piece = PIECES_KEPT.get_ptr(key(buffer, place.first))?;
    let segment = Segment {
        first: place.first,
        length: place.length,
        offset: 0,
        flags: 0,
    };
    Some((piece, direction.arrived(segment)))
}

/// Parses the next piece of the buffer, in at most `STEPS` parser steps. Returns `false` if there is nothing more to read
/// in this protocol. Without `OVERFLOW`, a stream that needs an overflow table makes the connection opaque.
#[inline(always)]
fn read<T: MayChange, const STEPS: usize, const OVERFLOW: bool>(work: &mut Work<'_, T>) -> bool {
    // SAFETY: socket storage is valid while the program runs; `serialisation` and the other fields of the connection
    // that are used here do not overlap.
    let (buffer, serialisation, connection) = unsafe {
        (
            &mut *work.buffer,
            &mut *work.serialisation,
            &mut *work.connection,
        )
    };
    let mut pod = work.pod.again::<OVERFLOW>();
    if !OVERFLOW && connection.needs_overflow() {
        connection.direction(Side::Requests).flags |= flag::UNREADABLE;
    }
    if connection.direction(Side::Requests).has(flag::UNREADABLE) {
        connection.leave(Side::Requests, &mut pod);
        return false;
    }
    let direction = connection.direction(Side::Requests);
    let Some((piece, segment)) = next(buffer, direction, serialisation, &work.pod) else {
        return false;
    };
    let packet = PiecePacket {
        piece,
        rules: work.rules,
    };
    connection.direction(Side::Requests).flags &= !flag::MIDWAY;
    for _ in 0..STEPS {
        if !connection.step(Side::Requests, &packet, &mut pod, segment) {
            if connection.changes(Side::Requests, &mut work.pod, work.socket) {
                return false;
            }
            connection.leave(Side::Requests, &mut pod);
            return true;
        }
    }
    connection.direction(Side::Requests).flags |= flag::MIDWAY;
    true
}

/// Makes the connection opaque, because the out-of-order buffer cannot be read.
#[inline(always)]
fn give_up<T: Protocol>(work: &mut Work<'_, T>) {
    // SAFETY: socket storage is valid while the program runs.
    unsafe { &mut *work.connection }.give_up(Side::Requests, &mut work.pod);
}

/// Reads at most one typical request head from the out-of-order buffer, without `bpf_loop` and without a tail call. If
/// more is left to read, the connection becomes opaque.
#[inline(always)]
pub fn read_a_head(work: &mut Work<'_, Conn>) {
    read::<_, { steps::HEAD }, false>(work);
    // SAFETY: socket storage is valid while the program runs.
    if unsafe { &*work.connection }.requests.has(flag::MIDWAY) {
        give_up(work);
    }
}

/// Makes an HTTP/2 connection opaque without reading its buffer: no small number of steps is enough for typical HTTP/2
/// data, as it is for a typical HTTP/1 head.
#[inline(always)]
pub fn read_nothing(work: &mut Work<'_, Http2>) {
    give_up(work);
}

/// Reads the whole out-of-order buffer, with `bpf_loop`. Without `OVERFLOW`, a stream that needs an overflow table makes
/// the connection opaque. With it, a program needs more stack.
#[inline(always)]
pub fn read_all<T: MayChange, const OVERFLOW: bool>(work: &mut Work<'_, T>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe {
        bpf_loop(
            RUNS,
            read_some::<T, OVERFLOW> as *mut c_void,
            (&raw mut *work).cast(),
            0,
        )
    };
}

#[inline(never)]
extern "C" fn read_some<T: MayChange, const OVERFLOW: bool>(
    _run: u64,
    work: *mut Work<'_, T>,
) -> i64 {
    // SAFETY: `read_all` has passed this pointer, which outlives the loop.
    i64::from(!read::<_, { steps::PIECE_IN_A_LOOP }, OVERFLOW>(unsafe {
        &mut *work
    }))
}

/// Reads at most one piece from the out-of-order buffer, without `bpf_loop`. If there may be more to read, the program
/// in the slot `again` reads it.
#[inline(always)]
fn read_a_piece<T: MayChange>(context: &SkBuffContext, work: &mut Work<'_, T>, again: u32) {
    if read::<_, { steps::PIECE }, false>(work) {
        go_on_in(context, Side::Requests, again);
        give_up(work);
    }
}

/// Reads at most one piece from the out-of-order buffer of an HTTP/1 connection, without `bpf_loop`. Then the program
/// calls itself.
#[inline(always)]
pub fn drain_http1(context: &SkBuffContext) {
    drain_http1_by(
        context,
        #[inline(always)]
        |work| read_a_piece(context, work, ingress::HTTP1_DRAIN_LOOP),
    );
}

/// Reads the whole out-of-order buffer of an HTTP/1 connection in one run, with `bpf_loop`.
#[inline(always)]
pub fn drain_all_http1(context: &SkBuffContext) {
    drain_http1_by(context, |work| read_all::<_, false>(work));
}

/// Reads at most one piece from the out-of-order buffer of an HTTP/2 connection, without `bpf_loop`. Then the program
/// calls itself.
#[inline(always)]
pub fn drain_http2(context: &SkBuffContext) {
    drain_http2_by(
        context,
        #[inline(always)]
        |work| read_a_piece(context, work, ingress::HTTP2_DRAIN_LOOP),
    );
}

/// Reads the whole out-of-order buffer of an HTTP/2 connection in one run, with `bpf_loop`.
#[inline(always)]
pub fn drain_all_http2(context: &SkBuffContext) {
    drain_http2_by(context, |work| read_all::<_, true>(work));
}

/// Records the sequence number up to which TCP has accepted data from the client. The number is passed through memory:
/// otherwise the verifier would track its bounds through all the parsing that follows.
#[inline(always)]
fn ask_tcp(socket: *mut bpf_sock, buffer: *mut OutOfOrderBuffer, next: u32) {
    // SAFETY: the pointer is to the socket of the current packet.
    let tcp = unsafe { bpf_tcp_sock(socket) };
    let taken = if tcp.is_null() {
        next
    } else {
        // SAFETY: the field is part of the structure that the helper has returned.
        unsafe { (*tcp).rcv_nxt }
    };
    // SAFETY: socket storage is valid while the program runs.
    unsafe { &mut *buffer }.set_tcp_accepted(taken);
}

/// Returns true if TCP has accepted the next bytes and the programs never saw them. This should not happen. If it
/// happens, the connection must become opaque: if the programs waited for these bytes, they would silently count
/// nothing more on this connection.
#[inline(always)]
fn has_missed(buffer: *mut OutOfOrderBuffer, direction: &Direction) -> bool {
    // SAFETY: socket storage is valid while the program runs.
    unsafe { &mut *buffer }.misses(direction.next)
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
    if !serialisation::acquire_to_drain(context, own, &pod) {
        return;
    }
    if own.is(state::HTTP2) {
        go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
    } else if own.serialisation.has_lost() {
        own.give_up(Side::Requests, &mut pod);
    } else if let Some(buffer) = out_of_order_buffer(header.socket) {
        ask_tcp(header.socket, buffer, own.requests.next);
        read(&mut Work {
            socket: header.socket,
            buffer,
            serialisation: &raw mut own.serialisation,
            connection,
            pod: pod.again(),
            rules,
        });
        // The connection may have changed to HTTP/2 within the buffer: then the rest of the buffer is HTTP/2.
        if own.is(state::HTTP2) {
            go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
        }
        let is_read = !own.is(state::CLOSED | state::TUNNEL | state::OPAQUE);
        if is_read && has_missed(buffer, &own.requests) {
            own.lose(&mut pod, event::BYTES_MISSED);
        }
    }
    serialisation::release(context, own, &pod);
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
    if connection.serialisation.has_lost() {
        own.give_up(Side::Requests, &mut pod);
    } else if let Some(buffer) = out_of_order_buffer(header.socket) {
        ask_tcp(header.socket, buffer, own.requests.direction.next);
        read(&mut Work {
            socket: header.socket,
            buffer,
            serialisation: &raw mut connection.serialisation,
            connection: http2,
            pod: pod.again(),
            rules,
        });
        if own.is_read() && has_missed(buffer, &own.requests.direction) {
            connection.lose(&mut pod, event::BYTES_MISSED);
        }
    }
    if own.has_become_opaque() {
        connection.happened(event::UNREADABLE);
    }
    serialisation::release(context, connection, &pod);
}
