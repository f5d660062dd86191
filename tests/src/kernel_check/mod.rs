//! The condensed exactness suite that `cargo xtask kernels` runs on other kernels.
//!
//! One static program that is a machine's first process: it mounts what is needed and runs the checks. Beside
//! it there is `ebb-sample`, the server whose own count is the oracle. The kernel programs are loaded once,
//! through the agent's own library. What is checked is what could differ from kernel to kernel: whether the
//! verifier takes the programs, and in which order and shape packets and events reach them. That the
//! parsers are right is for the other tests.
//!
//! It prints what test runners print, so that it is counted as one. A check that needs what a kernel
//! does not have is skipped and says what that is. `ebb-kernel-check here`, as root, does the same on the
//! machine that runs it, and leaves nothing behind.

mod checks;
mod counted;
mod http2;
mod log;
mod machine;
mod measured;
mod netem;
mod netlink;
mod scripted;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, ColorSetting, Completion, Trial};

/// In the environment: which checks to run, a part of their names.
const ONLY: &str = "EBB_CHECK";

/// Something that this kernel, or the way it was started, does not have.
struct Lacks(String);

/// What a check comes to; a failure is a panic.
type Verdict = Result<(), Lacks>;

/// Whether the kernel has `bpf_loop`. Where it has not, what was put aside is read by as many programs as may call
/// one another, and a connection that had more of it is opaque.
fn has_loops() -> bool {
    let release = nix::sys::utsname::uname().expect("it has a name");
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(5u32), Some(17u32))
}

/// The program, which is several.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if std::process::id() == 1 {
        return exit(machine::as_first_process(run));
    }
    match arguments.next().as_deref() {
        Some(scripted::COMMAND) => exit(scripted::serve(arguments)),
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

/// Runs all checks, one at a time, and prints what they come to.
fn run() -> ExitCode {
    log::start();
    let arguments = Arguments {
        // In a process of one thread: servers are forked off.
        test_threads: Some(1),
        color: Some(ColorSetting::Never),
        ..Arguments::default()
    };
    let only = env::var(ONLY).unwrap_or_default();
    let trials = checks::all()
        .enumerate()
        // The first loads the programs for the others.
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
