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
    http1::{self, Step},
    http2::{self, Http2},
    out_of_order::{OutOfOrderBuffer, PIECE, PIECES, Piece},
    serialisation::IngressSerialisation,
    steps,
};

use super::{
    piece::{PiecePacket, key},
    share::Share,
    store::remove,
};
use crate::{
    http2::take_over,
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

/// Parses the next piece of an HTTP/1 connection, in at most `STEPS` parser steps. Returns `false` if there is nothing
/// more to read as HTTP/1.
#[inline(always)]
fn read_http1<const STEPS: usize>(work: &mut Work<'_, Conn>) -> bool {
    // SAFETY: socket storage is valid while the program runs; `serialisation` and the other fields of the connection
    // that are used here do not overlap.
    let (buffer, serialisation, connection) = unsafe {
        (
            &mut *work.buffer,
            &mut *work.serialisation,
            &mut *work.connection,
        )
    };
    if connection.requests.has(flag::UNREADABLE) {
        http1::leave(Side::Requests, connection, &mut work.pod);
        return false;
    }
    let Some((piece, segment)) = next(buffer, &mut connection.requests, serialisation, &work.pod)
    else {
        return false;
    };
    let packet = PiecePacket {
        piece,
        rules: work.rules,
    };
    connection.requests.flags &= !flag::MIDWAY;
    for _ in 0..STEPS {
        let pod = &mut work.pod;
        if http1::step::<true, _, _>(Side::Requests, connection, &packet, pod, segment)
            == Step::Done
        {
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

/// Parses the next piece of an HTTP/2 connection, in at most `STEPS` parser steps. Returns `false` if there is nothing
/// more to read. Without `OVERFLOW`, a stream that needs an overflow table makes the connection opaque.
#[inline(always)]
fn read_http2<const STEPS: usize, const OVERFLOW: bool>(work: &mut Work<'_, Http2>) -> bool {
    // SAFETY: socket storage is valid while the program runs.
    let (buffer, serialisation, http2) = unsafe {
        (
            &mut *work.buffer,
            &mut *work.serialisation,
            &mut *work.connection,
        )
    };
    let mut pod = work.pod.again::<OVERFLOW>();
    if !OVERFLOW && http2.needs_overflow() {
        http2.requests.direction.flags |= flag::UNREADABLE;
    }
    if http2.requests.direction.has(flag::UNREADABLE) {
        http2::leave(Side::Requests, http2, &mut pod);
        return false;
    }
    let Some((piece, segment)) = next(
        buffer,
        &mut http2.requests.direction,
        serialisation,
        &work.pod,
    ) else {
        return false;
    };
    let packet = PiecePacket {
        piece,
        rules: work.rules,
    };
    http2.requests.direction.flags &= !flag::MIDWAY;
    for _ in 0..STEPS {
        if !http2::step(Side::Requests, http2, &packet, &mut pod, segment) {
            http2::leave(Side::Requests, http2, &mut pod);
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

/// Makes an HTTP/2 connection opaque, because its out-of-order buffer cannot be read.
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

/// Makes an HTTP/2 connection opaque without reading its buffer: no small number of steps is enough for typical HTTP/2
/// data, as it is for a typical HTTP/1 head.
#[inline(always)]
pub fn read_nothing(work: &mut Work<'_, Http2>) {
    // SAFETY: socket storage is valid while the program runs.
    give_up_http2(unsafe { &mut *work.connection }, &mut work.pod);
}

/// Reads the whole out-of-order buffer of an HTTP/1 connection, with `bpf_loop`.
#[inline(always)]
pub fn read_all_http1(work: &mut Work<'_, Conn>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe { bpf_loop(RUNS, http1_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

/// Reads the whole out-of-order buffer of an HTTP/2 connection, with `bpf_loop`.
#[inline(always)]
fn read_all_http2(work: &mut Work<'_, Http2>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe { bpf_loop(RUNS, http2_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

/// Reads the whole out-of-order buffer of an HTTP/2 connection, with `bpf_loop`. A stream that needs an overflow table
/// makes the connection opaque: with that code, a program that calls this function would need too much stack.
#[inline(always)]
pub fn read_first_http2(work: &mut Work<'_, Http2>) {
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe {
        bpf_loop(
            RUNS,
            first_http2_run as *mut c_void,
            (&raw mut *work).cast(),
            0,
        )
    };
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
    i64::from(!read_http2::<{ steps::PIECE_IN_A_LOOP }, true>(unsafe {
        &mut *work
    }))
}

#[inline(never)]
extern "C" fn first_http2_run(_run: u64, work: *mut Work<'_, Http2>) -> i64 {
    // SAFETY: `read_first_http2` has passed this pointer, which outlives the loop.
    i64::from(!read_http2::<{ steps::PIECE_IN_A_LOOP }, false>(unsafe {
        &mut *work
    }))
}

/// Reads at most one piece from the out-of-order buffer of an HTTP/1 connection, without `bpf_loop`. Then the program
/// calls itself.
#[inline(always)]
pub fn drain_http1(context: &SkBuffContext) {
    drain_http1_by(
        context,
        #[inline(always)]
        |work| {
            if read_http1::<{ steps::PIECE }>(work) {
                go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
                // SAFETY: socket storage is valid while the program runs.
                give_up_http1(unsafe { &mut *work.connection }, &mut work.pod);
            }
        },
    );
}

/// Reads the whole out-of-order buffer of an HTTP/1 connection in one run, with `bpf_loop`.
#[inline(always)]
pub fn drain_all_http1(context: &SkBuffContext) {
    drain_http1_by(context, |work| read_all_http1(work));
}

/// Reads at most one piece from the out-of-order buffer of an HTTP/2 connection, without `bpf_loop`. Then the program
/// calls itself.
#[inline(always)]
pub fn drain_http2(context: &SkBuffContext) {
    drain_http2_by(
        context,
        #[inline(always)]
        |work| {
            if read_http2::<{ steps::PIECE }, false>(work) {
                go_on_in(context, Side::Requests, ingress::HTTP2_DRAIN_LOOP);
                // SAFETY: socket storage is valid while the program runs.
                give_up_http2(unsafe { &mut *work.connection }, &mut work.pod);
            }
        },
    );
}

/// Reads the whole out-of-order buffer of an HTTP/2 connection in one run, with `bpf_loop`.
#[inline(always)]
pub fn drain_all_http2(context: &SkBuffContext) {
    drain_http2_by(context, |work| read_all_http2(work));
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
        give_up_http1(own, &mut pod);
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
        give_up_http2(own, &mut pod);
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
