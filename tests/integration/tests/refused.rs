//! How `ebb` rejects what it cannot do: the exit code, one line that names the cause, and nothing left behind.

use std::process::Command;

use ebb_fixtures::{dead_runs, ebb, run};

/// The expected properties of a rejection.
pub(crate) struct Refused<'a> {
    code: i32,
    names: &'a [&'a str],
}

impl<'a> Refused<'a> {
    /// An unusable input: exit code 1.
    pub(crate) fn input(names: &'a [&'a str]) -> Self {
        Self { code: 1, names }
    }

    /// A wrong use of the command line: exit code 2.
    pub(crate) fn usage(names: &'a [&'a str]) -> Self {
        Self { code: 2, names }
    }
}

/// Runs `command` to its end and checks its rejection.
#[track_caller]
pub(crate) fn assert_refused(command: Command, refused: &Refused<'_>) {
    let shown = format!("{command:?}");
    // Remains of earlier tests that failed are not this test's fault.
    let before = dead_runs();
    let end = ebb::to_end(command, run::SOON);
    let stderr = &end.stderr;
    assert_eq!(end.code, Some(refused.code), "{shown}: {stderr}");
    // The line with the error; the log and clap's "Usage:" may surround it.
    let errors: Vec<_> = stderr
        .lines()
        .filter(|line| line.to_lowercase().contains("error"))
        .collect();
    assert_eq!(errors.len(), 1, "{shown}: one line of error: {stderr}");
    // clap names what is missing on the following lines.
    let text = if refused.code == 2 { stderr } else { errors[0] };
    for name in refused.names {
        assert!(text.contains(name), "{shown}: {name} not named: {stderr}");
    }
    let left: Vec<_> = dead_runs()
        .into_iter()
        .filter(|run| !before.contains(run))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "{shown}: left behind");
}
