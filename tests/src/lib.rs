//! Ebb's integration tests and their tools: real kernel, real servers, real clients.
//!
//! [`sample`] and [`harness`] are independent of each other. [`sample`] is a small HTTP server that keeps its own exact
//! counts. It is the oracle for the kernel's counts, and the service that `cargo xtask demo` scales. [`harness`] has the
//! fixtures of the tests in `tests/integration`. [`bench`] uses both to measure the cost of the counter, for `cargo xtask
//! bench`. [`kernel_check`] uses both on other kernels, for `cargo xtask kernels`. `cluster` is a Kubernetes cluster of
//! processes, for the tests in `tests/e2e`.

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
