//! The test runner: libtest-mimic, with skips that state their reason and figures that are printed at the end.
//!
//! A test runs alone on the machine, because most tests load it, and two loads would measure each other. Tests that mostly
//! wait are marked with [`Case::beside`]; they run first, several at a time.

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{SigHandler, Signal, signal};

use super::{Need, cgroup, notes};

/// How many of the mostly waiting tests run at once. Each needs half a second of one CPU to load the programs; with more
/// tests at once, they would mostly wait for that.
const AT_ONCE: usize = 4;

/// Read lock: a test that may run beside others. Write lock: a test that runs alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// One test: its needs and its function.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
    alone: bool,
}

impl Case {
    /// A test that runs alone. It is skipped, with the reason, if one of `needs` is not met.
    #[must_use]
    pub const fn new(name: &'static str, needs: &'static [Need], run: fn()) -> Self {
        Self {
            name,
            needs,
            run,
            alone: true,
        }
    }

    /// Like `new`, for a test that puts no load on the machine and tolerates the load of a few others.
    #[must_use]
    pub const fn beside(name: &'static str, needs: &'static [Need], run: fn()) -> Self {
        Self {
            alone: false,
            ..Self::new(name, needs, run)
        }
    }

    fn into_trial(self) -> Trial {
        let Self {
            name, needs, run, ..
        } = self;
        Trial::ignorable_test(name, move || {
            for need in needs {
                if let Err(reason) = need.check() {
                    return Ok(Completion::ignored_with(format!("skipped: {reason}")));
                }
            }
            if self.alone {
                let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
                run();
            } else {
                let _beside = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
                run();
            }
            Ok(Completion::Completed)
        })
    }
}

/// Runs the cases that the command line selects and prints the figures they recorded.
#[must_use]
pub fn main(cases: impl IntoIterator<Item = Case>) -> ExitCode {
    heed_interrupts();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    if !arguments.list {
        cgroup::sweep();
    }
    let mut cases: Vec<_> = cases.into_iter().collect();
    cases.sort_by_key(|case| case.alone);
    let trials = cases.into_iter().map(Case::into_trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    notes::print();
    conclusion.exit_code()
}

/// Restores the default action of SIGINT. Programs inherit ignored signals, and a shell without job control makes its
/// background processes ignore SIGINT, which is used here to stop clients.
fn heed_interrupts() {
    // SAFETY: the default action replaces no handler of this process that could run.
    let before = unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) };
    before.expect("SIGINT can be handled");
}

/// Whether the long variants are requested (`EBB_TEST_FULL=1`): the same tests with the numbers of requests and seconds
/// that the product promises, instead of numbers small enough for every change.
#[must_use]
pub fn full() -> bool {
    std::env::var_os("EBB_TEST_FULL").is_some_and(|value| value == "1")
}
