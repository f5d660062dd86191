//! The test runner: libtest-mimic, with skips that say why and figures that are kept.
//!
//! One test at a time unless `--test-threads` says otherwise: most of them load the machine, and
//! two loads at once measure each other.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use super::{Need, cgroup, notes};

/// One test: what it needs from the machine, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    name: &'static str,
    needs: &'static [Need],
    run: fn(),
}

impl Case {
    /// A test that is skipped, with the reason, where one of `needs` is not met.
    #[must_use]
    pub const fn new(name: &'static str, needs: &'static [Need], run: fn()) -> Self {
        Self { name, needs, run }
    }

    fn into_trial(self) -> Trial {
        let Self { name, needs, run } = self;
        Trial::ignorable_test(name, move || {
            for need in needs {
                if let Err(reason) = need.check() {
                    return Ok(Completion::ignored_with(format!("skipped: {reason}")));
                }
            }
            run();
            Ok(Completion::Completed)
        })
    }
}

/// Runs the cases as the command line asks and prints the figures they noted.
#[must_use]
pub fn main(cases: impl IntoIterator<Item = Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    if !arguments.list {
        cgroup::sweep();
    }
    let trials = cases.into_iter().map(Case::into_trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    notes::print();
    conclusion.exit_code()
}

/// Whether the long variants are asked for (`EBB_TEST_FULL=1`): the same tests with the numbers of
/// requests and seconds the product promises, rather than those a change has to wait for.
#[must_use]
pub fn full() -> bool {
    std::env::var_os("EBB_TEST_FULL").is_some_and(|value| value == "1")
}
