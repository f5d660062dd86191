//! Ebb's integration tests and what they stand on: real kernel, real servers, real clients.
//!
//! Two parts that know nothing of each other: [`sample`], a small HTTP server that keeps exact
//! counts of its own (the oracle the kernel's counts are held against, and the service `cargo
//! xtask demo` scales), and [`harness`], the fixtures the tests in `tests/integration` are
//! written with.

#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "fixtures are test code: they panic, so that the backtrace stays"
)]
pub mod harness;
pub mod sample;
