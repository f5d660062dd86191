//! The test runner: libtest-mimic, with skips that say why and figures that are kept.
//!
//! A test has the machine to itself, because most of them load it, and two loads at once measure
//! each other. Those that mostly wait say so ([`Case::beside`]); they come first, some at a time.

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{SigHandler, Signal, signal};

use super::{Need, cgroup, notes};

/// How many of the tests that mostly wait are run at once. Loading the programs takes each of them
/// half a second of one CPU; with more of them than this, it is that which they would wait for.
const AT_ONCE: usize = 4;

/// Held for reading by a test that others may run beside, for writing by one that is alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// One test: what it needs from the machine, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
    alone: bool,
}

impl Case {
    /// A test that is skipped, with the reason, where one of `needs` is not met.
    #[must_use]
    pub const fn new(name: &'static str, needs: &'static [Need], run: fn()) -> Self {
        Self {
            name,
            needs,
            run,
            alone: true,
        }
    }

    /// The same for a test that puts no load on the machine and can bear that of a few others.
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

/// Runs the cases as the command line asks and prints the figures they noted.
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

/// Programs inherit which signals are ignored, and a shell without job control has what it starts in the background ignore
/// SIGINT, by which clients here are stopped.
fn heed_interrupts() {
    // SAFETY: no handler of this process is replaced by one that could run.
    let before = unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) };
    before.expect("SIGINT can be handled");
}

/// Whether the long variants are asked for (`EBB_TEST_FULL=1`): the same tests with the numbers of
/// requests and seconds the product promises, rather than those a change has to wait for.
#[must_use]
pub fn full() -> bool {
    std::env::var_os("EBB_TEST_FULL").is_some_and(|value| value == "1")
}
