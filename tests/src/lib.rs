//! Ebb's integration tests and what they stand on: real kernel, real servers, real clients.
//!
//! Two parts that know nothing of each other: [`sample`], a small HTTP server that keeps exact
//! counts of its own (the oracle the kernel's counts are held against, and the service `cargo
//! xtask demo` scales), and [`harness`], the fixtures the tests in `tests/integration` are
//! written with. [`bench`] measures with both what the counter costs, for `cargo xtask bench`, and
//! [`kernel_check`] puts both to use on other kernels, for `cargo xtask kernels`. `cluster` is a
//! Kubernetes cluster of processes, for the tests in `tests/e2e`.

pub mod bench;
#[cfg(feature = "cluster")]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "fixtures are test code: they panic, so that the backtrace stays"
)]
pub mod cluster;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "fixtures are test code: they panic, so that the backtrace stays"
)]
pub mod harness;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests that are a program: they panic, so that the backtrace stays"
)]
pub mod kernel_check;
pub mod sample;
