//! `ebb-kernel-check`: the condensed exactness suite that `cargo xtask kernels` runs on other kernels.
//!
//! A test machine runs this program as its first process. The program mounts file systems and runs the checks.
//! Two other programs are in the same folder: `ebb-sample`, the server whose count is the oracle, and
//! `ebb-test-scripted`. The checks load the kernel programs once, through the agent's library. They cover what may
//! differ between kernels: whether the verifier accepts the programs, and in which order and shape packets and events
//! reach the programs. Other tests show that the parsers are correct.
//!
//! The output has the format of Rust's test runner, so that `cargo xtask kernels` can count the results. A check is
//! skipped, with the reason, if the kernel lacks a feature that the check needs. `ebb-kernel-check here`, as root, runs
//! the same checks on the current machine and leaves nothing behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this program is a test: it panics, so that the backtrace stays"
)]

mod checks;
mod counted;
mod http2;
mod log;
mod machine;
mod measured;
mod netem;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, ColorSetting, Completion, Trial};

/// The name of the environment variable that selects checks: only checks whose names contain its value are run.
const ONLY: &str = "EBB_CHECK";

/// The reason why a check is skipped: a feature that the kernel or the configuration of the machine lacks.
struct MissingFeature(String);

/// The result of a check: completed or skipped. A failed check panics.
type Verdict = Result<(), MissingFeature>;

/// Returns whether the kernel has `bpf_loop` (Linux 5.17). Without `bpf_loop`, a chain of tail calls reads the
/// out-of-order buffer, and the length of this chain is limited. If more bytes are buffered, the connection becomes
/// opaque.
fn has_loops() -> bool {
    let release = nix::sys::utsname::uname().expect("it has a name");
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(5u32), Some(17u32))
}

/// Runs the checks, or one HTTP client (`fetch`), depending on the process id and the arguments.
fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if std::process::id() == 1 {
        return exit(machine::as_first_process(run));
    }
    match arguments.next().as_deref() {
        Some(checks::FETCH) => exit(checks::fetch(arguments)),
        Some("here") => match machine::network_of_our_own() {
            Ok(()) => run(),
            failed => exit(failed),
        },
        _ => {
            eprintln!(
                "ebb-kernel-check runs as the first process of a test machine: see cargo xtask kernels --help"
            );
            ExitCode::from(2)
        }
    }
}

fn exit(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all checks, one at a time, and prints the results.
fn run() -> ExitCode {
    log::start();
    let arguments = Arguments {
        // The checks run on one thread, because they fork servers from this process.
        test_threads: Some(1),
        color: Some(ColorSetting::Never),
        ..Arguments::default()
    };
    let only = env::var(ONLY).unwrap_or_default();
    let trials = checks::all()
        .enumerate()
        // The first check always runs, because it loads the programs for the others.
        .filter(|(number, (name, _))| *number == 0 || name.contains(&only))
        .map(|(_, check)| check)
        .map(|(name, check)| {
            Trial::ignorable_test(name, move || {
                Ok(match check() {
                    Ok(()) => Completion::Completed,
                    Err(MissingFeature(what)) => {
                        Completion::ignored_with(format!("skipped: {what}"))
                    }
                })
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    counted::unload();
    measured::print();
    conclusion.exit_code()
}
