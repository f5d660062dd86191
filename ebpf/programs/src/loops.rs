//! Packets with very many steps: thousands of chunks, frames or pipelined requests in one write.
//!
//! With `bpf_loop` (Linux 5.17) the verifier checks the code of a step once, however many steps run. `bpf_loop` costs
//! one call per step, so it reads only the rest of a packet, after a first run of the usual program. On older kernels
//! the usual program calls itself instead, as often as the kernel allows.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, programs::SkBuffContext};
use ebb_parser::{
    direction::{Segment, Side},
    http2::Http2,
    protocol::Protocol,
    steps,
};

use crate::{meter::Pod, segment::SkbPacket};

/// The data that the callback of `bpf_loop` needs. It is on the stack of the program, so that the verifier knows which
/// memory the callback gets.
struct Work<'a, T, const OVERFLOW: bool> {
    connection: *mut T,
    context: &'a SkBuffContext,
    slot: u32,
    pod: Pod<OVERFLOW>,
    segment: Segment,
}

/// Parses a segment to its end. Returns `true` if the limit of steps is reached.
#[inline(always)]
pub fn all<T: Protocol, const OVERFLOW: bool>(
    side: Side,
    connection: &mut T,
    packet: &SkbPacket<'_>,
    pod: &mut Pod<OVERFLOW>,
    segment: Segment,
) -> bool {
    let callback: extern "C" fn(u64, *mut Work<'_, T, OVERFLOW>) -> i64 = match side {
        Side::Requests => request_step,
        Side::Responses => response_step,
    };
    let mut work = Work {
        connection,
        context: packet.context,
        slot: packet.slot,
        pod: pod.again::<OVERFLOW>(),
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

#[inline(never)]
extern "C" fn request_step<T: Protocol, const OVERFLOW: bool>(
    _step: u64,
    work: *mut Work<'_, T, OVERFLOW>,
) -> i64 {
    // SAFETY: the function `all` has passed this pointer to a value on its stack, which outlives the loop.
    unsafe { &mut *work }.step(Side::Requests)
}

#[inline(never)]
extern "C" fn response_step<T: Protocol, const OVERFLOW: bool>(
    _step: u64,
    work: *mut Work<'_, T, OVERFLOW>,
) -> i64 {
    // SAFETY: the function `all` has passed this pointer to a value on its stack, which outlives the loop.
    unsafe { &mut *work }.step(Side::Responses)
}

impl<T: Protocol, const OVERFLOW: bool> Work<'_, T, OVERFLOW> {
    /// Takes one step. Returns 0 if there may be more to read. Any other value ends the loop.
    #[inline(always)]
    fn step(&mut self, side: Side) -> i64 {
        // SAFETY: the pointer is to socket storage, which is valid while the program runs.
        let connection = unsafe { &mut *self.connection };
        let packet = SkbPacket {
            context: self.context,
            slot: self.slot,
        };
        i64::from(!connection.step(side, &packet, &mut self.pod, self.segment))
    }
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
