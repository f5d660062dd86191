//! Integration tests of the product's promises, against real servers and clients.
//!
//! One module per promise. With `EBB_TEST_FULL=1`, the tests use the promised numbers of requests and seconds;
//! otherwise smaller numbers, so that they can run after every change. `cargo test -p ebb-integration -- watch` runs
//! only the tests with `watch` in their names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests panic, so that the backtrace stays"
)]

mod exact;
mod fixtures;
mod pins;
mod proxy;
mod refused;
mod run;
mod soak;
mod top;
mod watch;

use std::process::ExitCode;

/// The packages that contain the programs that the tests start.
const PACKAGES: [&str; 3] = ["ebb", "ebb-activator", "ebb-fixtures"];

/// Most tests need half a second of one CPU to load the kernel programs. More tests at the same time would mostly wait
/// for this loading.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    ebb_fixtures::build(&PACKAGES);
    let fixtures = fixtures::CASES.iter().copied();
    let cases = fixtures
        .chain(watch::cases())
        .chain(exact::cases())
        .chain(run::cases())
        .chain(pins::cases())
        .chain(proxy::cases())
        .chain(soak::cases())
        .chain(top::CASES.iter().copied());
    let verdict = ebb_fixtures::main(cases, AT_ONCE);
    exact::end();
    verdict
}
