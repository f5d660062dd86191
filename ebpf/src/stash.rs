//! Keeps segments that have come before their turn, and reads them when it comes (see [`ebb_common::stash`]).
//!
//! Only the way in: what leaves is seen in order, and again in the same order when it is sent again.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock,
    helpers::generated::{bpf_get_socket_cookie, bpf_loop, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use ebb_common::{
    abi::{Exclusion, PodRules, ingress},
    conn::{Conn, state},
    direction::{Direction, Segment, Side, flag},
    http1,
    http2::{self, Http2},
    packet::Packet,
    stash::{PIECE, PIECE_WORDS, PIECES, Piece, PieceKey, Place, Stash},
    window::{CARRY, LOAD, Window},
};

use crate::{
    http2::take_over,
    maps::{
        EXCLUSIONS, NO_PIECE, PIECES_KEPT, RULES, connection, go_on_in, http2, make_stash, stash,
    },
    meter::{Pod, masked},
    segment::Header,
};

/// Pieces kept in one run; a packet of 64 KiB takes 16 runs.
const PIECES_A_RUN: usize = 2;

/// Steps of one run through a piece, where each of them is looked at by the verifier.
const STEPS: usize = 4;

/// Steps of one run of a loop: with each, the piece is looked for.
const STEPS_OF_A_LOOP: usize = 2;

/// Steps of a usual head: its first line, four fields of interest, its end.
const STEPS_OF_A_HEAD: usize = 6;

/// Runs of a loop: enough for as many steps as there can be bytes.
const RUNS: u32 = (PIECES * PIECE / STEPS_OF_A_LOOP) as u32;

/// Keeps what a packet brings.
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
    if !connection.is(state::HTTP2) {
        try_to_keep(context, &header, &mut connection.requests, ingress::FILL);
        return;
    }
    let Some(http2) = http2(header.socket) else {
        return;
    };
    // SAFETY: as above.
    let direction = unsafe { &mut (*http2).requests.direction };
    try_to_keep(context, &header, direction, ingress::HTTP2_FILL);
}

/// Keeps it; if that fails the connection is opaque, which the program `then` sees to.
#[inline(always)]
fn try_to_keep(context: &SkBuffContext, header: &Header, direction: &mut Direction, then: u32) {
    if !store(context, header, direction) {
        direction.flags |= flag::UNREADABLE;
    }
    // Of what was kept before, something may have been left: without `bpf_loop` not all is read at once.
    go_on_in(context, Side::Requests, then);
}

/// `false` if there is no room.
#[inline(always)]
fn store(context: &SkBuffContext, header: &Header, direction: &mut Direction) -> bool {
    let Some(stash) = make_stash(header.socket) else {
        return false;
    };
    // SAFETY: socket storage, of which only the way in knows.
    let stash = unsafe { &mut *stash };
    if !direction.has(flag::UNFINISHED) {
        stash.done = 0;
        // SAFETY: the program's context.
        stash.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
        direction.stashed = 1;
    }
    direction.flags &= !flag::UNFINISHED;
    let segment = direction.arrived(header.segment);
    for _ in 0..PIECES_A_RUN {
        let done = stash.done;
        if done >= segment.length {
            return true;
        }
        let left = segment.length - done;
        let length = if left < PIECE as u32 {
            left
        } else {
            PIECE as u32
        };
        let first = segment.first.wrapping_add(done);
        let key = PieceKey {
            socket: stash.socket,
            first: u64::from(first),
        };
        stash.done = done + length;
        if stash.starts_at(first) {
            // It has come before; what is sent again may reach farther.
            if stash.found().length >= length {
                continue;
            }
        } else {
            let Some(blank) = NO_PIECE.get(0) else {
                return false;
            };
            if !stash.has_room() || PIECES_KEPT.insert(key, blank, 0).is_err() {
                return false;
            }
        }
        let Some(piece) = PIECES_KEPT.get_ptr_mut(key) else {
            return false;
        };
        let less = masked::<{ PIECE - 1 }>((length - 1) as usize) as u32;
        // SAFETY: at most `PIECE` bytes into a piece.
        let loaded = unsafe {
            bpf_skb_load_bytes(
                context.as_ptr().cast(),
                segment.offset.wrapping_add(done),
                piece.cast(),
                less + 1,
            )
        };
        if loaded != 0 {
            return false;
        }
        *stash.found() = Place { first, length };
    }
    direction.flags |= flag::UNFINISHED;
    go_on_in(context, Side::Requests, ingress::KEEP);
    // More than a packet can have.
    false
}

/// A piece as the bytes of a packet.
struct Kept<'a> {
    piece: *const Piece,
    rules: &'a PodRules,
}

impl Packet for Kept<'_> {
    #[inline(always)]
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        if at > CARRY || length > LOAD {
            return false;
        }
        let at = masked::<63>(at as usize);
        let offset = masked::<{ PIECE - 1 }>(offset as usize);
        const { assert!(PIECE + LOAD as usize <= PIECE_WORDS * 8) };
        // SAFETY: within both by the masks. What is behind the piece's end is copied, but not read.
        unsafe {
            let from = self.piece.cast::<u8>().add(offset);
            let to = (&raw mut window.words).cast::<u8>().add(at);
            for word in 0..(LOAD / 8) as usize {
                copy(from.add(word * 8), to.add(word * 8));
            }
        }
        true
    }

    #[inline(always)]
    fn excludes(&self, path: &Exclusion) -> bool {
        EXCLUSIONS.get_ptr(path).is_some()
    }

    #[inline(always)]
    fn has_exclusions(&self) -> bool {
        self.rules.has_exclusions != 0
    }
}

/// Copies eight bytes, in two instructions.
///
/// # Safety
/// They must be readable, and writable.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "{0} = *(u64 *)({1} + 0)",
            "*(u64 *)({2} + 0) = {0}",
            out(reg) _, in(reg) from, in(reg) to, options(nostack)
        );
    }
}

/// What is to be read next of what has been kept.
#[inline(always)]
fn next(stash: &mut Stash, direction: &mut Direction) -> Option<(*const Piece, Segment)> {
    // One at a time: each time a piece is asked for, one has been read.
    if stash.has_read(direction.next) {
        forget(stash);
    }
    if !stash.holds(direction.next) {
        if direction.has(flag::MIDWAY) {
            // All of the last one is in the window.
            let blank = NO_PIECE.get_ptr(0)?;
            let segment = Segment {
                first: direction.next,
                length: 0,
                offset: 0,
                flags: 0,
            };
            return Some((blank, direction.arrived(segment)));
        }
        if stash.is_empty() {
            direction.stashed = 0;
        }
        return None;
    }
    let place = *stash.found();
    let key = PieceKey {
        socket: stash.socket,
        first: u64::from(place.first),
    };
    let piece = PIECES_KEPT.get_ptr(key)?;
    let segment = Segment {
        first: place.first,
        length: place.length,
        offset: 0,
        flags: 0,
    };
    Some((piece, direction.arrived(segment)))
}

/// Frees the piece found last.
#[inline(always)]
fn forget(stash: &mut Stash) {
    let place = *stash.found();
    let key = PieceKey {
        socket: stash.socket,
        first: u64::from(place.first),
    };
    let _ = PIECES_KEPT.remove(key);
    stash.found().length = 0;
}

/// What reading a piece needs.
pub struct Work<'a, T> {
    /// The socket.
    pub socket: *mut bpf_sock,
    /// What it has kept.
    pub stash: *mut Stash,
    /// The connection, as its protocol has it.
    pub connection: *mut T,
    /// Where it is counted.
    pub pod: Pod,
    /// The pod's rules.
    pub rules: &'a PodRules,
}

/// What is to be done for a packet of a connection of one protocol.
macro_rules! work {
    ($name:ident, $connection:ty, $of:ident) => {
        #[inline(always)]
        fn $name(context: &SkBuffContext) -> Option<Work<'static, $connection>> {
            let header = Header::read(context)?;
            let stash = stash(header.socket)?;
            let connection = $of(header.socket)?;
            // SAFETY: socket storage, as long as the program runs.
            let slot = unsafe { (*connection).slot };
            Some(Work {
                socket: header.socket,
                stash,
                connection,
                pod: Pod::of(slot)?,
                rules: RULES.get(slot)?,
            })
        }
    };
}

work!(http1_work, Conn, connection);
work!(http2_work, Http2, http2);

/// Takes up to `STEPS` steps through what comes next, on HTTP/1. `false` if nothing does.
#[inline(always)]
fn read_http1<const STEPS: usize>(work: &mut Work<'_, Conn>) -> bool {
    // SAFETY: socket storage.
    let (stash, connection) = unsafe { (&mut *work.stash, &mut *work.connection) };
    if connection.requests.has(flag::UNREADABLE) {
        http1::leave(Side::Requests, connection, &mut work.pod);
        return false;
    }
    let Some((piece, segment)) = next(stash, &mut connection.requests) else {
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

/// Takes up to `STEPS` steps through what comes next, on HTTP/2. `false` if nothing does.
#[inline(always)]
fn read_http2<const STEPS: usize>(work: &mut Work<'_, Http2>) -> bool {
    // SAFETY: socket storage.
    let (stash, http2) = unsafe { (&mut *work.stash, &mut *work.connection) };
    if http2.requests.direction.has(flag::UNREADABLE) {
        http2::leave(Side::Requests, http2, &mut work.pod);
        return false;
    }
    let Some((piece, segment)) = next(stash, &mut http2.requests.direction) else {
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

/// Reads a usual head of what has been kept, where there is no `bpf_loop` and no way to go on. If there is more the
/// connection is opaque.
#[inline(always)]
pub fn read_a_head(work: &mut Work<'_, Conn>) {
    read_http1::<STEPS_OF_A_HEAD>(work);
    // SAFETY: socket storage.
    let connection = unsafe { &mut *work.connection };
    if connection.requests.has(flag::MIDWAY) {
        connection.requests.flags |= flag::UNREADABLE;
        http1::leave(Side::Requests, connection, &mut work.pod);
    }
}

/// The same on HTTP/2, which has no usual head: it is opaque.
#[inline(always)]
pub fn read_nothing(work: &mut Work<'_, Http2>) {
    // SAFETY: socket storage.
    let http2 = unsafe { &mut *work.connection };
    http2.requests.direction.flags |= flag::UNREADABLE;
    http2::leave(Side::Requests, http2, &mut work.pod);
}

/// Reads all that has been kept, on HTTP/1.
#[inline(always)]
pub fn read_all_http1(work: &mut Work<'_, Conn>) {
    // SAFETY: the callback gets what it expects, and the verifier looks at it.
    unsafe { bpf_loop(RUNS, http1_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

/// The same on HTTP/2.
#[inline(always)]
pub fn read_all_http2(work: &mut Work<'_, Http2>) {
    // SAFETY: as above.
    unsafe { bpf_loop(RUNS, http2_run as *mut c_void, (&raw mut *work).cast(), 0) };
}

/// Reads what has been kept, on HTTP/1, where there is no `bpf_loop`: a piece of it, and then itself.
#[inline(always)]
pub fn fill_http1(context: &SkBuffContext) {
    let Some(mut work) = http1_work(context) else {
        return;
    };
    if read_http1::<STEPS>(&mut work) {
        go_on_in(context, Side::Requests, ingress::FILL);
    }
    go_on_in_http2(context, &work);
}

/// The same on HTTP/2.
#[inline(always)]
pub fn fill_http2(context: &SkBuffContext) {
    let Some(mut work) = http2_work(context) else {
        return;
    };
    if read_http2::<STEPS>(&mut work) {
        go_on_in(context, Side::Requests, ingress::HTTP2_FILL);
    }
}

/// Reads what has been kept, on HTTP/1, all of it.
#[inline(always)]
pub fn fill_all_http1(context: &SkBuffContext) {
    if let Some(mut work) = http1_work(context) {
        read_all_http1(&mut work);
        go_on_in_http2(context, &work);
    }
}

/// What was kept may have begun with HTTP/1's last line.
#[inline(always)]
fn go_on_in_http2(context: &SkBuffContext, work: &Work<'_, Conn>) {
    // SAFETY: socket storage.
    if unsafe { (*work.connection).is(state::HTTP2) } {
        go_on_in(context, Side::Requests, ingress::HTTP2_FILL);
    }
}

/// The same on HTTP/2.
#[inline(always)]
pub fn fill_all_http2(context: &SkBuffContext) {
    if let Some(mut work) = http2_work(context) {
        read_all_http2(&mut work);
    }
}

#[inline(never)]
extern "C" fn http1_run(_run: u64, work: *mut Work<'_, Conn>) -> i64 {
    // SAFETY: what `read_all_http1` has given; it outlives the loop.
    i64::from(!read_http1::<STEPS_OF_A_LOOP>(unsafe { &mut *work }))
}

#[inline(never)]
extern "C" fn http2_run(_run: u64, work: *mut Work<'_, Http2>) -> i64 {
    // SAFETY: what `read_all_http2` has given; it outlives the loop.
    i64::from(!read_http2::<STEPS_OF_A_LOOP>(unsafe { &mut *work }))
}

/// Frees all that a connection has kept, as it closes.
#[inline(always)]
pub fn clear(socket: *mut bpf_sock) {
    let Some(stash) = stash(socket) else {
        return;
    };
    // SAFETY: socket storage.
    let stash = unsafe { &mut *stash };
    for index in 0..PIECES {
        let place = stash.places[index];
        if place.length != 0 {
            let key = PieceKey {
                socket: stash.socket,
                first: u64::from(place.first),
            };
            let _ = PIECES_KEPT.remove(key);
            stash.places[index].length = 0;
        }
    }
}
