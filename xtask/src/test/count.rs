//! Counts tests from the output of their runners.
//!
//! libtest, rustdoc and libtest-mimic print the same lines, and cargo has no stable machine-readable form of them.
//! Bias: a runner that dies without a result counts as a failed test, see [`Counts::settle`].

use std::{ops::AddAssign, time::Duration};

/// Number of tests by outcome, the reasons of those that were skipped, and the time of groups of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// The skipped tests, one line each: `name: reason`, or `name` alone if the runner gives no reason.
    pub(super) reasons: Vec<String>,
    /// The tests that failed, one line each: `name: message`, or `name` alone if the runner gives no message.
    pub(super) failures: Vec<String>,
    /// The groups of tests. Only some test runners print groups.
    pub(super) groups: Vec<Group>,
    /// The failed test whose output follows: its index in `failures`.
    pub(super) output_of: Option<usize>,
}

/// The tests of one runner whose names have the same first part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) tests: u64,
    pub(super) took: Duration,
}

impl Group {
    /// Parses a line of a runner, `group NAME: N tests in S s` (`tests/fixtures/src/groups.rs`).
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("group ")?.split_once(": ")?;
        let (tests, seconds) = rest.strip_suffix(" s")?.split_once(" tests in ")?;
        Some(Self {
            name: name.to_owned(),
            tests: tests.parse().ok()?,
            took: Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?,
        })
    }
}

impl Counts {
    /// Returns the counts for a single check: one passed or one failed test.
    pub(super) fn one(passed: bool) -> Self {
        Self {
            passed: passed.into(),
            failed: (!passed).into(),
            ..Self::default()
        }
    }

    /// Returns the counts for a single check that could not run: one skipped test.
    pub(super) fn skipped(reason: String) -> Self {
        Self {
            skipped: 1,
            reasons: vec![reason],
            ..Self::default()
        }
    }

    /// Counts one line of a runner's output. Returns whether the line should be printed. Lines with the time of a group
    /// should not be printed, because the summary contains the times of all groups.
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some(group) = Group::parse(line) {
            self.groups.push(group);
            return false;
        }
        self.read_output_of_failure(line);
        if let Some(result) = line.strip_prefix("test result: ") {
            for (number, what) in result
                .split([';', '.'])
                .filter_map(|part| part.trim().split_once(' '))
            {
                let number = number.parse().unwrap_or(0);
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.skipped += number,
                    _ => {}
                }
            }
        } else if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            let name = name.trim();
            if outcome == "FAILED" {
                self.failures.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason
                    .trim_start_matches([',', ' '])
                    .trim_start_matches("skipped: ");
                self.reasons.push(if reason.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name}: {reason}")
                });
            }
        }
        true
    }

    /// Adds the message of a failed test to its name. After the tests, a runner prints `---- NAME ----` (libtest:
    /// `---- NAME stdout ----`), and then the test's output. The first line of the output is the message. libtest prints
    /// the place of the panic before the message.
    fn read_output_of_failure(&mut self, line: &str) {
        let name = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" ----"));
        if let Some(name) = name {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.output_of = self.failures.iter().rposition(|failed| failed == name);
        } else if let Some(index) = self.output_of
            && !line.is_empty()
            && !line.starts_with("thread '")
        {
            let message = line.strip_prefix("test panicked: ").unwrap_or(line);
            self.failures[index] = format!("{}: {message}", self.failures[index]);
            self.output_of = None;
        }
    }

    /// Returns the final counts of a run. A run without success has at least one failure, even if its output contains
    /// none.
    pub(super) fn settle(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend_from_slice(&other.reasons);
        self.failures.extend_from_slice(&other.failures);
        self.groups.extend_from_slice(&other.groups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(output: &str) -> Counts {
        let mut counts = Counts::default();
        for line in output.lines() {
            counts.read(line);
        }
        counts
    }

    #[test]
    fn results_of_all_runners_add_up() {
        let counts = counts(
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 9.99s\n",
        );
        assert_eq!((counts.passed, counts.failed, counts.skipped), (8, 1, 2));
    }

    #[test]
    fn reasons_and_failures_keep_their_names() {
        let counts = counts(
            "test watch::nginx_exact   ... ignored, skipped: nginx is not installed\n\
             test a::b ... ignored\n\
             test src/lib.rs - f (line 3) ... FAILED\n\
             test fine ... ok\n",
        );
        assert_eq!(
            counts.reasons,
            ["watch::nginx_exact: nginx is not installed", "a::b"]
        );
        assert_eq!(counts.failures, ["src/lib.rs - f (line 3)"]);
    }

    #[test]
    fn times_of_groups_are_collected_and_not_shown_twice() {
        let mut counts = Counts::default();
        assert!(counts.read("test zero::race ... ok"));
        assert!(!counts.read("group zero: 14 tests in 312.4 s"));
        assert!(counts.read("group of three: unlike the others"));
        let [zero] = &counts.groups[..] else {
            panic!("{counts:?}");
        };
        assert_eq!((&*zero.name, zero.tests), ("zero", 14));
        assert_eq!(zero.took, Duration::from_millis(312_400));
    }

    #[test]
    fn a_failure_has_its_message() {
        let counts = counts(
            "test exact::padded ... FAILED\ntest run::hop ... FAILED\ntest a::b ... FAILED\n\n\
             failures:\n\n\
             ---- exact::padded ----\ntest panicked: its count: not within 20s\nthe server printed: error\n\n\
             ---- a::b stdout ----\n\nthread 'a::b' (1) panicked at src/a.rs:3:9:\nb is not 2\n\n\
             failures:\n    exact::padded\n",
        );
        assert_eq!(
            counts.failures,
            [
                "exact::padded: its count: not within 20s",
                "run::hop",
                "a::b: b is not 2"
            ]
        );
    }

    #[test]
    fn a_runner_that_dies_is_a_failure() {
        assert_eq!(Counts::default().settle(false).failed, 1);
        assert_eq!(
            counts("test result: FAILED. 0 passed; 2 failed; 0 ignored;")
                .settle(false)
                .failed,
            2
        );
        assert_eq!(Counts::default().settle(true).failed, 0);
    }
}
