//! Drives the parsers of `ebb-parser` on the host exactly as the kernel programs drive them, and finds the expected
//! counts without the parsers.
//!
//! Tests and fuzzers share this driver. [`wire`] follows `ebpf/programs/src/traffic.rs`, `http2.rs` and `sockets.rs`: a
//! change in these files must be made here, too. Failure mode: the driver panics at the first impossible event, such as
//! a count below zero, a helper called under the lock, or a step too many. Two CPUs that run at the same time are not
//! covered.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

pub mod exchange;
pub mod http1;
pub mod http2;
pub mod ledger;
mod out_of_order;
mod packet;
pub mod segments;
pub mod targets;
pub mod wire;

pub use packet::EXCLUDED;
