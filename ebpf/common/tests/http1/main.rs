//! The HTTP/1 parser of the kernel programs, driven on the host exactly as they drive it.
//!
//! Every exchange is told once, with what is to be counted, and played under every segmentation: the
//! figures may not depend on where TCP happens to cut. What is generated carries its own truth, down
//! to the nanosecond of the integral. The driver is `ebb_common_testing`'s.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

mod arbitrary;
mod cases;
mod conversation;
#[path = "../shared/disorder.rs"]
mod disorder;
mod heads;
mod large;
mod schedule;
#[path = "../shared/segmentation.rs"]
mod segmentation;
#[path = "../shared/mod.rs"]
mod shared;
mod spoken;
