//! A packet's turn to be read, where it has one: see [`ebb_common::serialisation`].
//!
//! What must outlast a call of the next program is in the packet's control block (`cb` of `struct __sk_buff`), which is zero
//! when the first program of a packet begins and its own again after the last (`bpf_prog_run_save_cb` in
//! include/linux/filter.h).

use aya_ebpf::programs::SkBuffContext;
use ebb_common::{
    abi::{event, ingress},
    conn::Conn,
    direction::Side,
};

use crate::{maps::go_on_in, meter::Pod};

/// In the control block: 1 while the packet has its turn.
const HAS_TURN: usize = 0;

/// In the control block: bytes of the packet that have been put aside.
const PUT_ASIDE: usize = 1;

#[inline(always)]
fn word<const INDEX: usize>(context: &SkBuffContext) -> *mut u32 {
    // SAFETY: a field of the program's context.
    unsafe { &raw mut (*context.skb.skb).cb[INDEX] }
}

/// Whether the packet has its turn.
#[inline(always)]
fn has_turn(context: &SkBuffContext) -> bool {
    // SAFETY: as in `word`.
    unsafe { word::<HAS_TURN>(context).read_volatile() != 0 }
}

#[inline(always)]
fn set_turn(context: &SkBuffContext, has: u32) {
    // SAFETY: as in `word`.
    unsafe { word::<HAS_TURN>(context).write_volatile(has) };
}

/// Bytes of the packet that have been put aside.
#[inline(always)]
pub fn put_aside(context: &SkBuffContext) -> u32 {
    // SAFETY: as in `word`.
    unsafe { word::<PUT_ASIDE>(context).read_volatile() }
}

/// Notes them.
#[inline(always)]
pub fn set_put_aside(context: &SkBuffContext, bytes: u32) {
    // SAFETY: as in `word`.
    unsafe { word::<PUT_ASIDE>(context).write_volatile(bytes) };
}

/// Takes the turn for a packet that has come. `false` if another one has it: it has been put aside then.
#[inline(always)]
pub fn take(context: &SkBuffContext, connection: &mut Conn, pod: &mut Pod) -> bool {
    if has_turn(context) {
        return true;
    }
    if connection.turn.enter(pod) {
        set_turn(context, 1);
        return true;
    }
    go_on_in(context, Side::Requests, ingress::OUT_OF_ORDER_STORE);
    connection.lose(pod, event::NO_ROOM);
    give_up(context, connection, pod);
    false
}

/// Takes the turn to look at what others have put aside. `false` if somebody else is here to do so.
#[inline(always)]
pub fn take_to_look(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) -> bool {
    let has = has_turn(context) || connection.turn.enter(pod);
    if has {
        set_turn(context, 1);
        connection.turn.look(pod);
    } else {
        give_up(context, connection, pod);
    }
    has
}

/// Gives the turn up, or the wish for it. What others have put aside meanwhile is looked at then.
#[inline(always)]
pub fn give_up(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) {
    set_turn(context, 0);
    if connection.turn.leave(pod) {
        go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
    }
    if connection.has_event() {
        go_on_in(context, Side::Requests, ingress::LOG_INGRESS);
    }
}

/// What follows once a packet has been put aside: whoever has the turn looks.
#[inline(always)]
pub fn go_on(context: &SkBuffContext, connection: &mut Conn, pod: &Pod) {
    if has_turn(context) {
        go_on_in(context, Side::Requests, ingress::HTTP1_DRAIN_LOOP);
    } else {
        connection.turn.wait();
    }
    give_up(context, connection, pod);
}
