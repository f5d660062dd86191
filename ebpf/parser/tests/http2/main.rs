//! The HTTP/2 parser of the kernel programs, driven on the host exactly as the programs drive it.
//!
//! There are three sources: handwritten frames, each with the expected counts after it; random conversations, compared with
//! a reader that decodes everything; and the bytes of the `h2` crate's clients and servers, compared with the server's own
//! count. All are played under every segmentation. The driver is `ebb_parser_testing`'s.

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
