//! The HTTP/2 parser of the kernel programs, driven on the host exactly as they drive it.
//!
//! Frames that are told by hand, each with what is to be counted behind it; random conversations,
//! beside a reader that decodes everything; and what the clients and servers of the `h2` crate say to one
//! another, with the server's own count. All of them under every segmentation. The driver is
//! `ebb_common_testing`'s.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

mod cases;
#[path = "../shared/disorder.rs"]
mod disorder;
mod large;
mod libraries;
#[path = "../shared/segmentation.rs"]
mod segmentation;
#[path = "../shared/mod.rs"]
mod shared;
mod stories;
