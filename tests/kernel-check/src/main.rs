//! `ebb-kernel-check`: the condensed exactness suite that `cargo xtask kernels` runs on other kernels.
//!
//! It is one static program, started as a machine's first process: it mounts file systems and runs the checks. Next to it
//! are `ebb-sample`, the server whose own count is the oracle, and `ebb-test-scripted`. The kernel programs are loaded once,
//! through the agent's own library. The checks cover what may differ between kernels: whether the verifier accepts the
//! programs, and in which order and shape packets and events reach them. Other tests show that the parsers are correct.
//!
//! The output is that of a test runner, so that the suite is counted as one. A check is skipped, with the reason, if the
//! kernel lacks a feature that it needs. `ebb-kernel-check here`, as root, runs the same checks on the current machine and
//! leaves nothing behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests that are a program: they panic, so that the backtrace stays"
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

/// Environment variable that selects checks by a part of their names.
const ONLY: &str = "EBB_CHECK";

/// A feature that this kernel, or its boot configuration, lacks.
struct Lacks(String);

/// The result of a check; a failure is a panic.
type Verdict = Result<(), Lacks>;

/// Whether the kernel has `bpf_loop` (Linux 5.17). Without it, the out-of-order buffer is read by as many programs as may
/// tail-call one another; a connection with more buffered bytes becomes opaque.
fn has_loops() -> bool {
    let release = nix::sys::utsname::uname().expect("it has a name");
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(5u32), Some(17u32))
}

/// A checker or a client, by its arguments.
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
                "this is the first process of a test machine: see cargo xtask kernels --help"
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
        // One thread, because servers are forked from this process.
        test_threads: Some(1),
        color: Some(ColorSetting::Never),
        ..Arguments::default()
    };
    let only = env::var(ONLY).unwrap_or_default();
    let trials = checks::all()
        .enumerate()
        // The first check loads the programs for the others, so it always runs.
        .filter(|(number, (name, _))| *number == 0 || name.contains(&only))
        .map(|(_, check)| check)
        .map(|(name, check)| {
            Trial::ignorable_test(name, move || {
                Ok(match check() {
                    Ok(()) => Completion::Completed,
                    Err(Lacks(what)) => Completion::ignored_with(format!("skipped: {what}")),
                })
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    counted::unload();
    measured::print();
    conclusion.exit_code()
}
