//! Ebb's kernel programs: they count what is in flight in the cgroups they are attached to.
//!
//! Three programs and one that they call (oldest kernel: 5.10), attached to a pod's cgroup:
//! `sockets` sees connections open and close, `requests` the bytes to them, `responses` the bytes from
//! them. They never change, hold or drop a packet: every path ends in 1, "let it pass".

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
#![feature(core_intrinsics)]

mod early;
mod maps;
mod meter;
mod segment;
mod sockets;
mod traffic;

use aya_ebpf::{
    macros::{cgroup_skb, sock_ops},
    programs::{SkBuffContext, SockOpsContext},
};
use ebb_common::http1::Side;

/// Bytes that arrive at a socket of the pod.
#[cgroup_skb(ingress)]
pub fn requests(context: SkBuffContext) -> i32 {
    traffic::run(&context, Side::Requests);
    1
}

/// Bytes that arrive for a connection that is not made yet; `requests` calls it.
#[cgroup_skb(ingress)]
pub fn early(context: SkBuffContext) -> i32 {
    early::run(&context);
    1
}

/// Bytes that leave a socket of the pod.
#[cgroup_skb(egress)]
pub fn responses(context: SkBuffContext) -> i32 {
    traffic::run(&context, Side::Responses);
    1
}

/// Connections of the pod that open and close.
#[sock_ops]
pub fn sockets(context: SockOpsContext) -> u32 {
    sockets::run(&context);
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
