//! Packets with very many steps: thousands of chunks, frames or pipelined requests in one write.
//!
//! With `bpf_loop` (Linux 5.17) the verifier checks the code of a step once, however many steps run. `bpf_loop` costs
//! one call per step, so it reads only the rest of a packet, after a first run of the usual program. On older kernels
//! the usual program calls itself instead, as often as the kernel allows.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, programs::SkBuffContext};
use ebb_parser::{
    conn::Conn,
    direction::{Segment, Side},
    http1::{self, Step},
    http2,
    http2::Http2,
    steps,
};

use crate::{meter::Pod, segment::SkbPacket};

/// The data that the callback of `bpf_loop` needs. It is on the stack of the program, so that the verifier knows which
/// memory the callback gets.
struct Work<'a, T> {
    connection: *mut T,
    context: &'a SkBuffContext,
    slot: u32,
    pod: Pod,
    segment: Segment,
}

/// Parses a segment to its end, on HTTP/1. Returns `true` if the limit of steps is reached.
#[inline(always)]
pub fn http1(
    side: Side,
    connection: &mut Conn,
    packet: &SkbPacket<'_>,
    pod: &mut Pod,
    segment: Segment,
) -> bool {
    let callback = match side {
        Side::Requests => http1_request,
        Side::Responses => http1_response,
    };
    all(callback, connection, packet, pod, segment)
}

/// Parses a segment to its end, on HTTP/2. Returns `true` if the limit of steps is reached.
#[inline(always)]
pub fn http2(
    side: Side,
    http2: &mut Http2,
    packet: &SkbPacket<'_>,
    pod: &mut Pod<true>,
    segment: Segment,
) -> bool {
    let callback = match side {
        Side::Requests => http2_request,
        Side::Responses => http2_response,
    };
    all(callback, http2, packet, &mut pod.again(), segment)
}

type Callback<T> = extern "C" fn(u64, *mut Work<'_, T>) -> i64;

#[inline(always)]
fn all<T>(
    callback: Callback<T>,
    connection: &mut T,
    packet: &SkbPacket<'_>,
    pod: &mut Pod,
    segment: Segment,
) -> bool {
    let mut work = Work {
        connection,
        context: packet.context,
        slot: packet.slot,
        pod: pod.again(),
        segment,
    };
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    let taken = unsafe {
        bpf_loop(
            steps::LONG,
            callback as *mut c_void,
            (&raw mut work).cast(),
            0,
        )
    };
    taken == i64::from(steps::LONG)
}

/// Return value of a callback that ends the loop.
const ENOUGH: i64 = 1;

macro_rules! callback {
    ($name:ident, $connection:ty, $step:path, $side:expr) => {
        #[inline(never)]
        extern "C" fn $name(_step: u64, work: *mut Work<'_, $connection>) -> i64 {
            // SAFETY: the function `all` has passed this pointer to a value on its stack, which outlives the loop.
            let work = unsafe { &mut *work };
            // SAFETY: the pointer is to socket storage, which is valid while the program runs.
            let connection = unsafe { &mut *work.connection };
            let packet = SkbPacket {
                context: work.context,
                slot: work.slot,
            };
            let more = $step($side, connection, &packet, &mut work.pod, work.segment);
            if more { 0 } else { ENOUGH }
        }
    };
}

callback!(http1_request, Conn, http1_step, Side::Requests);
callback!(http1_response, Conn, http1_step, Side::Responses);
callback!(http2_request, Http2, http2_step, Side::Requests);
callback!(http2_response, Http2, http2_step, Side::Responses);

/// Takes one step on HTTP/1. Returns whether there may be more to read.
#[inline(always)]
fn http1_step(
    side: Side,
    connection: &mut Conn,
    packet: &SkbPacket<'_>,
    pod: &mut Pod,
    segment: Segment,
) -> bool {
    http1::step::<true, _, _>(side, connection, packet, pod, segment) == Step::More
}

/// Takes one step on HTTP/2, with the code for overflow tables. Returns whether there may be more to read.
#[inline(always)]
fn http2_step(
    side: Side,
    http2: &mut Http2,
    packet: &SkbPacket<'_>,
    pod: &mut Pod,
    segment: Segment,
) -> bool {
    http2::step(side, http2, packet, &mut pod.again::<true>(), segment)
}

/// The data that the callback of `goaway` needs.
struct Refusal {
    http2: *mut Http2,
    pod: Pod<true>,
}

/// Ends all streams that the server has refused with GOAWAY.
#[inline(always)]
pub fn goaway(_context: &SkBuffContext, http2: &mut Http2, pod: &mut Pod<true>) {
    let places = http2.places() as u32;
    let mut work = Refusal {
        http2,
        pod: pod.again(),
    };
    // SAFETY: the callback gets the type that it expects, and the verifier checks the callback.
    unsafe {
        bpf_loop(
            places,
            end_refused as *mut c_void,
            (&raw mut work).cast(),
            0,
        )
    };
}

#[inline(never)]
extern "C" fn end_refused(place: u64, work: *mut Refusal) -> i64 {
    // SAFETY: `goaway` has passed this pointer to a value on its stack, which outlives the loop.
    let work = unsafe { &mut *work };
    // SAFETY: the pointer is to socket storage, which is valid while the program runs.
    let http2 = unsafe { &mut *work.http2 };
    http2.end_refused(&mut work.pod, place as usize);
    0
}
