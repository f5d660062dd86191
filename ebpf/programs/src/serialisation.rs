//! Ingress serialisation of packets: one CPU at a time reads the ingress of a connection, see
//! [`ebb_parser::serialisation`].
//!
//! State that must survive a tail call is in the packet's control block (`cb` of `struct __sk_buff`). The control block
//! is zero when the first program for a packet begins. After the last program, the kernel restores the earlier contents
//! (`bpf_prog_run_save_cb` in include/linux/filter.h).

use aya_ebpf::programs::SkBuffContext;
use ebb_abi::{event, ingress};
use ebb_parser::{conn::Conn, direction::Side};

use crate::{maps::go_on_in, meter::Pod};

/// Index of the control-block word that is 1 while this packet holds the ingress serialisation of its connection: only
/// programs that handle this packet may read the connection.
const HOLDS_SERIALISATION: usize = 0;

/// Index of the control-block word that holds the number of bytes of this packet that the programs have stored.
const STORED_BYTES: usize = 1;

#[inline(always)]
fn word<const INDEX: usize>(context: &SkBuffContext) -> *mut u32 {
    // SAFETY: the pointer is to a field of the program's context.
    unsafe { &raw mut (*context.skb.skb).cb[INDEX] }
}

/// Returns whether this packet holds the ingress serialisation of its connection, so that this CPU may read the
/// connection.
#[inline(always)]
fn holds_serialisation(context: &SkBuffContext) -> bool {
    // SAFETY: the pointer is to a field of the program's context.
    unsafe { word::<HOLDS_SERIALISATION>(context).read_volatile() != 0 }
}

#[inline(always)]
fn set_holds_serialisation(context: &SkBuffContext, has: u32) {
    // SAFETY: the pointer is to a field of the program's context.
    unsafe { word::<HOLDS_SERIALISATION>(context).write_volatile(has) };
}

/// Returns the number of bytes of this packet that the programs have stored: in the out-of-order buffer, or in the map
/// `EARLY` if the connection is not established yet.
#[inline(always)]
pub fn stored_bytes(context: &SkBuffContext) -> u32 {
    // SAFETY: the pointer is to a field of the program's context.
    unsafe { word::<STORED_BYTES>(context).read_volatile() }
}

/// Sets the number of bytes of this packet that have been stored.
#[inline(always)]
pub fn set_stored_bytes(context: &SkBuffContext, bytes: u32) {
    // SAFETY: the pointer is to a field of the program's context.
    unsafe { word::<STORED_BYTES>(context).write_volatile(bytes) };
}

/// Begins to read a packet. Returns `false` if another CPU is reading the connection. In this case the packet has been
/// stored in the out-of-order buffer.
#[inline(always)]
pub fn acquire(context: &SkBuffContext, connection: &mut Conn, pod: &mut Pod) -> bool {
    if holds_serialisation(context) {
        return true;
    }
    if connection.serialisation.enter(pod) {
        set_holds_serialisation(context, 1);
        return true;
    }
    go_on_in(context, Side::Requests, ingress::OUT_OF_ORDER_STORE);
    connection.lose(pod, event::OUT_OF_ORDER_FULL);
    release(context, connection, pod);
    false
}

/// Begins to read the out-of-order buffer. Returns `false` if another CPU is reading the connection: that CPU reads the
/// buffer.
#[inline(always)]
pub fn acquire_to_drain(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) -> bool {
    let has = holds_serialisation(context) || connection.serialisation.enter(pod);
    if has {
        set_holds_serialisation(context, 1);
        connection.serialisation.begin_reading(pod);
    } else {
        release(context, connection, pod);
    }
    has
}

/// Ends the handling of a packet. Also called if this CPU has not read the packet because another CPU was reading the
/// connection.
///
/// If the out-of-order buffer holds segments that no CPU has looked at, and no other CPU is handling a segment,
/// continues with the program that reads the buffer. Otherwise, if a rare event is recorded, continues with the program
/// that logs the event.
#[inline(always)]
pub fn release(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) {
    set_holds_serialisation(context, 0);
    if connection.serialisation.leave(pod) {
        go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
    }
    if connection.has_event() {
        go_on_in(context, Side::Requests, ingress::LOG_INGRESS);
    }
}

/// Continues after a packet has been stored. If this packet holds the ingress serialisation, reads the out-of-order
/// buffer. Otherwise another CPU is reading the connection: waits some microseconds for that CPU to finish.
#[inline(always)]
pub fn go_on(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) {
    if holds_serialisation(context) {
        go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
    } else {
        connection.serialisation.wait();
    }
    release(context, connection, pod);
}
