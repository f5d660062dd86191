//! Checks how `ebb` rejects invalid input or a missing requirement: the exit code, one line that names the cause, and
//! nothing left behind.

use std::process::Command;

use ebb_fixtures::{dead_runs, ebb, run};

/// The expected properties of a rejection: the exit code, and the texts that the error message must contain.
pub(crate) struct Rejection<'a> {
    code: i32,
    names: &'a [&'a str],
}

impl<'a> Rejection<'a> {
    /// Returns the expected rejection of unusable input, with exit code 1.
    pub(crate) fn input(names: &'a [&'a str]) -> Self {
        Self { code: 1, names }
    }

    /// Returns the expected rejection of an invalid command line, with exit code 2.
    pub(crate) fn usage(names: &'a [&'a str]) -> Self {
        Self { code: 2, names }
    }
}

/// Runs `command` to its end. Checks that it is rejected as `refused` describes, and that it leaves no cgroups behind.
#[track_caller]
pub(crate) fn assert_refused(command: Command, refused: &Rejection<'_>) {
    let shown = format!("{command:?}");
    // Ignores cgroups that were left behind by tests that failed earlier.
    let before = dead_runs();
    let end = ebb::to_end(command, run::SOON);
    let stderr = &end.stderr;
    assert_eq!(end.code, Some(refused.code), "{shown}: {stderr}");
    // The lines with the error. Log lines and clap's "Usage:" may come before or after the error.
    let errors: Vec<_> = stderr
        .lines()
        .filter(|line| line.to_lowercase().contains("error"))
        .collect();
    assert_eq!(
        errors.len(),
        1,
        "{shown}: exactly one line must contain an error: {stderr}"
    );
    // clap names a missing argument only on the lines after the error, so for exit code 2 the whole output is searched.
    let text = if refused.code == 2 { stderr } else { errors[0] };
    for name in refused.names {
        assert!(
            text.contains(name),
            "{shown}: the error does not name {name}: {stderr}"
        );
    }
    let left: Vec<_> = dead_runs()
        .into_iter()
        .filter(|run| !before.contains(run))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "{shown}: cgroups left behind");
}
