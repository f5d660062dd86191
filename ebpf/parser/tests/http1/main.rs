//! Tests of the HTTP/1 parser of the kernel programs. They run on the host, and call the parser as the kernel programs
//! do.
//!
//! Every exchange is written once, with its expected counts. It is played with many divisions of its bytes into TCP
//! segments: the counts must not depend on the division. A generated conversation has its own expected counts, and an
//! expected integral of requests in flight over time, to the nanosecond. The driver is in `ebb_parser_testing`.

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
