//! The parsers of `ebb-common`, driven on the host exactly as the kernel programs drive them, and what
//! is to be counted, found in other ways.
//!
//! Tests and fuzzers stand on this one driver. [`wire`] follows `ebpf/src/traffic.rs`, `http2.rs` and
//! `sockets.rs`; a change there belongs here, too. It fails by panicking, at the first thing that can
//! never be: a count below zero, a helper called under the lock, a step too many. Not covered: what two
//! CPUs do at once.

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
