//! Reads the results of the checks on one kernel from the output of the checks.

use std::{fs, path::Path, time::Duration};

use super::boot::Finished;

/// Number of lines of the console that are shown if the kernel rejects the programs: the end of the verifier's output.
const TAIL: usize = 40;

/// A check and its result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The counts are correct.
    Passed,
    /// The counts are wrong, or the kernel rejects a program.
    Failed,
    /// The kernel lacks a feature that the check needs; the text names the feature.
    Lacking(String),
}

/// The results of all checks on one kernel.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The version of the kernel: the full version after a run, otherwise the version of the release.
    pub(crate) kernel: String,
    pub(crate) checks: Vec<Check>,
    /// Measured values, as tuples (name, value).
    pub(super) measured: Vec<(String, String)>,
    /// Descriptions of the failures.
    pub(super) failures: Vec<String>,
    pub(super) took: Duration,
    ended: bool,
}

impl Outcome {
    /// Creates the outcome of a kernel that could not be booted.
    pub(super) fn not_run(version: &str) -> Self {
        Self {
            kernel: version.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the output of the checks.
    pub(super) fn read(version: &str, finished: &Finished) -> Self {
        let mut outcome = Self::not_run(version);
        outcome.took = finished.took;
        outcome.take_in(&finished.results);
        if !outcome.ended {
            outcome
                .failures
                .push("the machine ended before the checks did".to_owned());
        }
        if !outcome.ended || outcome.is_refused() {
            let console = finished.console.display();
            outcome.failures.push(format!("the end of {console}:"));
            outcome.failures.extend(tail(&finished.console));
        }
        outcome
    }

    fn take_in(&mut self, results: &str) {
        let mut lines = results.lines().map(str::trim_end);
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("test ") {
                self.checks.extend(check(rest));
                self.ended |= rest.starts_with("result: ");
            } else if let Some(version) = line.strip_prefix("kernel: ") {
                // The full version, such as `5.10.0-32-cloud-amd64`.
                self.kernel = version.to_owned();
            } else if let Some((what, figure)) = line
                .strip_prefix("measured: ")
                .and_then(|rest| rest.split_once(": "))
            {
                self.measured.push((what.to_owned(), figure.to_owned()));
            } else if line.starts_with("---- ") {
                // The next lines are the reasons of the failure, up to the line `failures:`.
                self.failures.push(line.to_owned());
                let reasons = lines.by_ref().take_while(|line| *line != "failures:");
                self.failures
                    .extend(reasons.filter(|line| !line.is_empty()).map(str::to_owned));
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.checks
            .first()
            .is_some_and(|check| check.verdict == Verdict::Failed)
    }

    /// Returns whether all checks have run and none has failed.
    pub(crate) fn is_good(&self) -> bool {
        self.ended
            && self
                .checks
                .iter()
                .all(|check| check.verdict != Verdict::Failed)
    }
}

/// Parses a line of a test runner after its first word `test`, such as `NAME ... ok`.
fn check(line: &str) -> Option<Check> {
    let (name, outcome) = line.split_once(" ... ")?;
    let verdict = match outcome {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        _ => {
            let reason = outcome.strip_prefix("ignored")?;
            let reason = reason.trim_matches([',', ' ', '(', ')']);
            Verdict::Lacking(reason.trim_start_matches("skipped: ").to_owned())
        }
    };
    Some(Check {
        name: name.trim().to_owned(),
        verdict,
    })
}

fn tail(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(TAIL))
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(results: &str) -> Outcome {
        let mut outcome = Outcome::not_run("5.10");
        outcome.take_in(results);
        outcome
    }

    #[test]
    fn what_the_checks_print_is_read() {
        let outcome = outcome(
            "kernel: 5.10.0-32-cloud-amd64\r\n\r\nrunning 3 tests\r\n\
             test programs load ... ok\r\n\
             test 5 % lost      ... ignored (skipped: no sch_netem in this kernel)\r\n\
             test IPv6          ... FAILED\r\n\r\n\
             failures:\r\n\r\n---- IPv6 ----\r\ntest panicked: 2 is not 3\r\n\r\n\r\nfailures:\r\n    IPv6\r\n\r\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\r\n\
             measured: steps to verify requests: 123\r\n",
        );
        assert_eq!(outcome.kernel, "5.10.0-32-cloud-amd64");
        let verdicts: Vec<_> = outcome
            .checks
            .iter()
            .map(|check| (check.name.as_str(), &check.verdict))
            .collect();
        assert_eq!(
            verdicts,
            [
                ("programs load", &Verdict::Passed),
                (
                    "5 % lost",
                    &Verdict::Lacking("no sch_netem in this kernel".to_owned())
                ),
                ("IPv6", &Verdict::Failed),
            ]
        );
        assert_eq!(
            outcome.measured,
            [("steps to verify requests".to_owned(), "123".to_owned())]
        );
        assert_eq!(
            outcome.failures,
            ["---- IPv6 ----", "test panicked: 2 is not 3"]
        );
        assert!(outcome.ended && !outcome.is_good());
    }

    #[test]
    fn a_machine_that_dies_has_failed() {
        assert!(!outcome("test programs load ... ok\n").is_good());
        assert!(outcome("test a ... ok\ntest result: ok. 1 passed;\n").is_good());
    }
}
