//! The HTTP/1 parser of the kernel programs, driven on the host exactly as they drive it.
//!
//! Every exchange is told once, with what is to be counted, and played under every segmentation: the
//! figures may not depend on where TCP happens to cut. What is generated carries its own truth, down
//! to the nanosecond of the integral. The driver ([`wire`]) follows `ebpf/src/traffic.rs` and
//! `sockets.rs`; a change there belongs here, too. Not covered: what two CPUs do at once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

mod arbitrary;
mod cases;
mod conversation;
mod exchange;
mod heads;
mod ledger;
mod schedule;
mod segmentation;
mod spoken;
mod wire;
