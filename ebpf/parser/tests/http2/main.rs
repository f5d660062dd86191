//! The HTTP/2 parser of the kernel programs, driven on the host exactly as the programs drive it.
//!
//! The tests have three sources. Handwritten frames: each exchange has its expected counts. Random conversations: the
//! counts are compared with those of a reader that decodes everything. Bytes of the `h2` crate's clients and servers:
//! the counts are compared with those of the server. All of them are played under every segmentation. The driver is in
//! `ebb_parser_testing`.

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
