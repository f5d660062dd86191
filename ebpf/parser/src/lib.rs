//! The parsers of Ebb's kernel programs, and the state that they keep for a connection.
//!
//! The parsers are written once, for packets in the kernel and for slices in tests. Bias: the parsers never guess. A
//! connection that cannot be parsed becomes *opaque*, and counts as one request in flight until it closes. No input
//! makes a parser loop, or read outside its window.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod attaching;
mod branchless;
pub mod conn;
pub mod direction;
pub mod ends;
pub mod http1;
pub mod http2;
pub mod out_of_order;
pub mod packet;
pub mod protocol;
pub mod serialisation;
pub mod steps;
pub mod window;

#[cfg(target_endian = "big")]
compile_error!("the parsers compare text as little-endian words");
