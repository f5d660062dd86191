//! The kernel programs: they count requests in flight in the cgroups that they are attached to.
//!
//! Four programs are attached to the cgroup of a pod: `connections` (connections that open and close), `http1_ingress`
//! and `http1_egress` (packets to and from the pod's sockets), and `socket_release`. The other programs are reached by
//! tail calls, and handle rare cases. A program whose name ends in `_loop` uses `bpf_loop` (Linux 5.17). On older
//! kernels, its slot holds another program (`agent/src/kernel/object.rs`, `CALLS`). Oldest kernel: 5.10.
//!
//! Bias: no program ever changes, delays or drops a packet: every path returns 1, "let it pass".

#![no_std]
#![no_main]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "this crate is a program, and its macros generate public items"
)]
#![expect(
    internal_features,
    reason = "on the BPF target, 64-bit atomic adds exist only as a compiler intrinsic"
)]
#![allow(
    clippy::redundant_closure,
    reason = "a function passed without a closure is compiled with one more parameter, and Linux 7 rejects six"
)]
#![feature(asm_experimental_arch, core_intrinsics, stmt_expr_attributes)]

mod attach;
mod handshake;
mod http2;
mod log;
mod loops;
mod maps;
mod meter;
mod out_of_order;
mod segment;
mod serialisation;
mod sockets;
mod traffic;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock, sock_ops},
    programs::{SkBuffContext, SockContext, SockOpsContext},
};
use ebb_parser::direction::Side;

/// Reads the ingress of a pod: packets to its sockets. This program also reads HTTP/2, once a connection has changed to
/// HTTP/2.
#[cgroup_skb(ingress)]
// The function is inlined: for a packet without data, a function call would cost a third of the time of an empty
// program.
#[inline(always)]
pub fn http1_ingress(context: SkBuffContext) -> i32 {
    traffic::run::<false>(
        &context,
        Side::Requests,
        |a, b, c, d, e| traffic::steps::<false, _>(a, b, c, d, e),
        |a, b, c, d, e| http2::packet(a, b, c, d, e, |a, b, c, d, e| http2::steps(a, b, c, d, e)),
    );
    1
}

/// Reads the rest of an ingress packet that needs more parser steps than one run of a program takes, or code for
/// unusual messages. Called by `http1_ingress`.
#[cgroup_skb(ingress)]
pub fn http1_ingress_loop(context: SkBuffContext) -> i32 {
    traffic::run::<true>(
        &context,
        Side::Requests,
        |a, b, c, d, e| loops::all(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Does the work of `http1_ingress_loop` without `bpf_loop`: calls itself.
#[cgroup_skb(ingress)]
pub fn http1_ingress_rest(context: SkBuffContext) -> i32 {
    traffic::run::<true>(
        &context,
        Side::Requests,
        |a, b, c, d, e| traffic::steps::<true, _>(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Stores data that arrives before its connection is established. Called by `http1_ingress`.
#[cgroup_skb(ingress)]
pub fn handshake_store(context: SkBuffContext) -> i32 {
    handshake::store_packet(&context);
    1
}

/// Reads the data that arrived before the connection was established. Called by `connections`.
#[sock_ops]
pub fn handshake_read_loop(context: SockOpsContext) -> u32 {
    handshake::drain(
        &context,
        |work| out_of_order::read_all::<_, false>(work),
        |work| out_of_order::read_all::<_, false>(work),
    );
    1
}

/// Reads the data that arrived before the connection was established, without `bpf_loop`. If the data is longer than a
/// typical request head, the connection becomes opaque.
#[sock_ops]
// Inlined: Linux 5.10 rejects a tail call in a function that returns no int.
#[inline(always)]
pub fn handshake_read(context: SockOpsContext) -> u32 {
    handshake::drain(
        &context,
        #[inline(always)]
        |work| out_of_order::read_a_head(work),
        #[inline(always)]
        |work| out_of_order::read_nothing(work),
    );
    1
}

/// Reads the rest of an ingress packet in which the connection changes to HTTP/2, or which needs more parser steps than
/// one run of a program takes. Also reads the packets of connections with an overflow table. Called by `http1_ingress`.
#[cgroup_skb(ingress)]
pub fn http2_ingress_loop(context: SkBuffContext) -> i32 {
    http2::run::<true>(&context, Side::Requests, |a, b, c, d, e| {
        loops::all(a, b, c, d, e)
    });
    1
}

/// Does the work of `http2_ingress_loop` without `bpf_loop`: calls itself.
#[cgroup_skb(ingress)]
pub fn http2_ingress(context: SkBuffContext) -> i32 {
    http2::run::<false>(&context, Side::Requests, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// Does the work of `http2_ingress_loop` on connections with an overflow table, without `bpf_loop`: calls itself.
#[cgroup_skb(ingress)]
pub fn http2_ingress_overflow(context: SkBuffContext) -> i32 {
    http2::run::<true>(&context, Side::Requests, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// Copies a segment to the out-of-order buffer. Called by `http1_ingress` and `http2_ingress_loop`.
#[cgroup_skb(ingress)]
pub fn out_of_order_store(context: SkBuffContext) -> i32 {
    out_of_order::store_packet(&context);
    1
}

/// Reads the out-of-order buffer of an HTTP/1 connection without `bpf_loop`: each run reads at most one piece. Called
/// by `http1_ingress`.
#[cgroup_skb(ingress)]
// Inlined: Linux 5.10 rejects a tail call in a function that returns no int.
#[inline(always)]
pub fn http1_drain(context: SkBuffContext) -> i32 {
    out_of_order::drain_http1(&context);
    1
}

/// Reads the out-of-order buffer of an HTTP/1 connection in one run, with `bpf_loop`.
#[cgroup_skb(ingress)]
pub fn http1_drain_loop(context: SkBuffContext) -> i32 {
    out_of_order::drain_all_http1(&context);
    1
}

/// Reads the out-of-order buffer of an HTTP/2 connection in one run, with `bpf_loop`.
#[cgroup_skb(ingress)]
pub fn http2_drain_loop(context: SkBuffContext) -> i32 {
    out_of_order::drain_all_http2(&context);
    1
}

/// Reads the out-of-order buffer of an HTTP/2 connection without `bpf_loop`: each run reads at most one piece. Called
/// by `http2_ingress_loop`.
#[cgroup_skb(ingress)]
pub fn http2_drain(context: SkBuffContext) -> i32 {
    out_of_order::drain_http2(&context);
    1
}

/// Attaches mid-stream to a connection that was open before its cgroup was counted. Called by `http1_ingress`.
#[cgroup_skb(ingress)]
pub fn attach_mid_stream(context: SkBuffContext) -> i32 {
    attach::mid_stream(&context);
    1
}

/// Looks for HTTP/2 in the server's data, on a connection that was open before its cgroup was counted. Called by
/// `http1_egress`.
#[cgroup_skb(egress)]
pub fn attach_responses(context: SkBuffContext) -> i32 {
    attach::responses(&context);
    1
}

/// Logs a rare event of an ingress program.
#[cgroup_skb(ingress)]
pub fn log_ingress(context: SkBuffContext) -> i32 {
    log::packet(&context);
    1
}

/// Logs a rare event of an egress program.
#[cgroup_skb(egress)]
pub fn log_egress(context: SkBuffContext) -> i32 {
    log::packet(&context);
    1
}

/// Logs a rare event of `connections`.
#[sock_ops]
pub fn log_sock_ops(context: SockOpsContext) -> u32 {
    log::socket(&context);
    1
}

/// Reads the egress of a pod: packets from its sockets. This program also reads HTTP/2, once a connection has changed
/// to HTTP/2.
#[cgroup_skb(egress)]
// The function is inlined: for a packet without data, a function call would cost a third of the time of an empty
// program.
#[inline(always)]
pub fn http1_egress(context: SkBuffContext) -> i32 {
    traffic::run::<false>(
        &context,
        Side::Responses,
        |a, b, c, d, e| traffic::steps::<false, _>(a, b, c, d, e),
        |a, b, c, d, e| http2::packet(a, b, c, d, e, |a, b, c, d, e| http2::steps(a, b, c, d, e)),
    );
    1
}

/// Reads the rest of an egress packet that needs more parser steps than one run of a program takes, or code for unusual
/// messages. Called by `http1_egress`.
#[cgroup_skb(egress)]
pub fn http1_egress_loop(context: SkBuffContext) -> i32 {
    traffic::run::<true>(
        &context,
        Side::Responses,
        |a, b, c, d, e| loops::all(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Does the work of `http1_egress_loop` without `bpf_loop`: calls itself.
#[cgroup_skb(egress)]
pub fn http1_egress_rest(context: SkBuffContext) -> i32 {
    traffic::run::<true>(
        &context,
        Side::Responses,
        |a, b, c, d, e| traffic::steps::<true, _>(a, b, c, d, e),
        |a, b, c, d, _| http2::go_on(a, b, c, d),
    );
    1
}

/// Reads the rest of an egress packet in which the connection changes to HTTP/2, or which needs more parser steps than
/// one run of a program takes. Also reads the packets of connections with an overflow table. Called by `http1_egress`.
#[cgroup_skb(egress)]
pub fn http2_egress_loop(context: SkBuffContext) -> i32 {
    http2::run::<true>(&context, Side::Responses, |a, b, c, d, e| {
        loops::all(a, b, c, d, e)
    });
    1
}

/// Does the work of `http2_egress_loop` without `bpf_loop`: calls itself.
#[cgroup_skb(egress)]
pub fn http2_egress(context: SkBuffContext) -> i32 {
    http2::run::<false>(&context, Side::Responses, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// Does the work of `http2_egress_loop` on connections with an overflow table, without `bpf_loop`: calls itself.
#[cgroup_skb(egress)]
pub fn http2_egress_overflow(context: SkBuffContext) -> i32 {
    http2::run::<true>(&context, Side::Responses, |a, b, c, d, e| {
        http2::steps(a, b, c, d, e)
    });
    1
}

/// Ends the streams that the server has refused with GOAWAY. Called by the programs that read HTTP/2 egress packets.
#[cgroup_skb(egress)]
pub fn http2_goaway_loop(context: SkBuffContext) -> i32 {
    http2::goaway(&context, |a, b, c| loops::goaway(a, b, c));
    1
}

/// Does the work of `http2_goaway_loop` without `bpf_loop`: ends one stream, and calls itself. The kernel limits the
/// calls, so more than 30 refused streams end with the connection.
#[cgroup_skb(egress)]
pub fn http2_goaway(context: SkBuffContext) -> i32 {
    http2::goaway(&context, |a, b, c| http2::end_one_refused(a, b, c));
    1
}

/// Handles connections of a pod that have been established or closed.
#[sock_ops]
pub fn connections(context: SockOpsContext) -> u32 {
    sockets::run(&context);
    1
}

/// Handles the release of a pod's sockets: closes the connections that were attached mid-stream.
#[cgroup_sock(sock_release)]
pub fn socket_release(context: SockContext) -> i32 {
    sockets::released(&context);
    1
}

/// License of the programs: the kernel offers some helpers to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The panic handler is never reached: the verifier rejects a program with a reachable endless loop.
    loop {}
}
