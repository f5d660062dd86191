//! Ebb's kernel programs: they count what is in flight in the cgroups they are attached to.
//!
//! Four of them are attached to a pod's cgroup: `sockets` sees connections open and close, `requests` the bytes to
//! them, `responses` the bytes from them, `released` the end of those that were open before. The others are called by these: one protocol on, for packets of very
//! many steps, for segments that come before their turn. Oldest kernel: 5.10; those named `long…` and `adopt` use
//! `bpf_loop` (5.17), and before it others stand in for them. None ever changes, holds or drops a packet:
//! every path ends in 1, "let it pass".

#![no_std]
#![no_main]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a program, whose macros make public items"
)]
#![expect(
    internal_features,
    reason = "64-bit atomic adds on the BPF target are an intrinsic only"
)]
#![allow(
    clippy::redundant_closure,
    reason = "a function handed over as it is becomes one of a parameter more, and Linux 7 refuses one of six"
)]
#![feature(asm_experimental_arch, core_intrinsics)]

mod early;
mod http2;
mod join;
mod long;
mod maps;
mod meter;
mod note;
mod segment;
mod sockets;
mod stash;
mod traffic;
mod turn;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock, sock_ops},
    programs::{SkBuffContext, SockContext, SockOpsContext},
};
use ebb_common::direction::Side;

/// Bytes that arrive at a socket of the pod.
#[cgroup_skb(ingress)]
// A call of its own would cost each packet without data a third of an empty program.
#[inline(always)]
pub fn requests(context: SkBuffContext) -> i32 {
    traffic::run(
        &context,
        Side::Requests,
        |a, b, c, d, e| traffic::steps(a, b, c, d, e),
        |a, b, c, d, e| http2::packet(a, b, c, d, e, |a, b, c, d, e| http2::steps(a, b, c, d, e)),
    );
    1
}

/// The rest of a packet of many steps; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn long_requests(context: SkBuffContext) -> i32 {
    traffic::run(
        &context,
        Side::Requests,
        |a, b, c, d, e| long::http1(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Bytes that arrive for a connection that is not made yet; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn early(context: SkBuffContext) -> i32 {
    early::keep(&context);
    1
}

/// What came before its connection, read now that there is one; `sockets` calls it.
#[sock_ops]
pub fn adopt(context: SockOpsContext) -> u32 {
    early::adopt(
        &context,
        |work| stash::read_all_http1(work),
        |work| stash::read_all_http2(work),
    );
    1
}

/// The same without `bpf_loop`: of what is longer than a usual head the connection becomes opaque.
#[sock_ops]
pub fn adopt_short(context: SockOpsContext) -> u32 {
    early::adopt(
        &context,
        |work| stash::read_a_head(work),
        |work| stash::read_nothing(work),
    );
    1
}

/// Bytes that arrive at a connection that speaks HTTP/2; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn http2_requests(context: SkBuffContext) -> i32 {
    http2::run(&context, Side::Requests, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// The rest of a packet of many steps; `http2_requests` calls it.
#[cgroup_skb(ingress)]
pub fn http2_long_requests(context: SkBuffContext) -> i32 {
    http2::run(&context, Side::Requests, |a, b, c, d, e| {
        long::http2(a, b, c, d, e)
    });
    1
}

/// Bytes that arrive before their turn; `requests` and `http2_requests` call it.
#[cgroup_skb(ingress)]
pub fn keep(context: SkBuffContext) -> i32 {
    stash::keep(&context);
    1
}

/// What was kept, when its turn may have come; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn fill(context: SkBuffContext) -> i32 {
    stash::fill_http1(&context);
    1
}

/// The same in one go.
#[cgroup_skb(ingress)]
pub fn long_fill(context: SkBuffContext) -> i32 {
    stash::fill_all_http1(&context);
    1
}

/// The same in one go, on HTTP/2.
#[cgroup_skb(ingress)]
pub fn http2_long_fill(context: SkBuffContext) -> i32 {
    stash::fill_all_http2(&context);
    1
}

/// What was kept, when its turn may have come; `http2_requests` calls it.
#[cgroup_skb(ingress)]
pub fn http2_fill(context: SkBuffContext) -> i32 {
    stash::fill_http2(&context);
    1
}

/// Bytes that arrive at a connection that was open before; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn join(context: SkBuffContext) -> i32 {
    join::join(&context);
    1
}

/// Something rare has happened as bytes arrived.
#[cgroup_skb(ingress)]
pub fn note_request(context: SkBuffContext) -> i32 {
    note::packet(&context);
    1
}

/// Something rare has happened as bytes left.
#[cgroup_skb(egress)]
pub fn note_response(context: SkBuffContext) -> i32 {
    note::packet(&context);
    1
}

/// Something rare has happened as a connection opened.
#[sock_ops]
pub fn note_socket(context: SockOpsContext) -> u32 {
    note::socket(&context);
    1
}

/// Bytes that leave a socket of the pod.
#[cgroup_skb(egress)]
// A call of its own would cost each packet without data a third of an empty program.
#[inline(always)]
pub fn responses(context: SkBuffContext) -> i32 {
    traffic::run(
        &context,
        Side::Responses,
        |a, b, c, d, e| traffic::steps(a, b, c, d, e),
        |a, b, c, d, e| http2::packet(a, b, c, d, e, |a, b, c, d, e| http2::steps(a, b, c, d, e)),
    );
    1
}

/// The rest of a packet of many steps; `responses` calls it.
#[cgroup_skb(egress)]
pub fn long_responses(context: SkBuffContext) -> i32 {
    traffic::run(
        &context,
        Side::Responses,
        |a, b, c, d, e| long::http1(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Bytes that leave a connection that speaks HTTP/2; `responses` calls it.
#[cgroup_skb(egress)]
pub fn http2_responses(context: SkBuffContext) -> i32 {
    http2::run(&context, Side::Responses, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// The rest of a packet of many steps; `http2_responses` calls it.
#[cgroup_skb(egress)]
pub fn http2_long_responses(context: SkBuffContext) -> i32 {
    http2::run(&context, Side::Responses, |a, b, c, d, e| {
        long::http2(a, b, c, d, e)
    });
    1
}

/// Connections of the pod that open and close.
#[sock_ops]
pub fn sockets(context: SockOpsContext) -> u32 {
    sockets::run(&context);
    1
}

/// Sockets of the pod that are given up.
#[cgroup_sock(sock_release)]
pub fn released(context: SockContext) -> i32 {
    sockets::released(&context);
    1
}

/// The helpers that the programs call are for GPL-compatible ones.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Not reachable: the verifier would refuse a program in which it were, as this never ends.
    loop {}
}
