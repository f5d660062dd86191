//! Drives the parsers of `ebb-parser` on the host exactly as the kernel programs drive them, and finds in other ways what they
//! have to count.
//!
//! Tests and fuzzers share this driver. [`wire`] follows `ebpf/programs/src/traffic.rs`, `http2.rs` and `sockets.rs`: a change
//! there belongs here, too. Failure mode: it panics at the first impossible event: a count below zero, a helper called under the
//! lock, a step too many. Not covered: two CPUs that run at the same time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

pub mod exchange;
pub mod http1;
pub mod http2;
mod kept;
pub mod ledger;
mod packet;
pub mod segments;
pub mod targets;
pub mod wire;

pub use packet::EXCLUDED;
