//! The summary of a test run.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::count::Counts;
use crate::{say, table::table};

/// The result of one step.
struct Line {
    name: &'static str,
    took: Duration,
    counts: Counts,
}

/// The results of all steps.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Runs a step and records its outcome. A step that returns an error counts as failed.
    pub(super) fn add(&mut self, name: &'static str, step: impl FnOnce() -> Result<Counts>) {
        let start = Instant::now();
        let mut counts = step().unwrap_or_else(|error| {
            say::note(&format!("{error:#}"));
            let failures = vec![format!("{name}: {error:#}")];
            Counts {
                failed: 1,
                failures,
                ..Counts::default()
            }
        });
        if counts.failed > 0 && counts.failures.is_empty() {
            counts.failures.push(name.to_owned());
        }
        let took = start.elapsed();
        match verdict(&counts) {
            FAILED => say::failed(name),
            SKIPPED => say::note(&format!("{name}: skipped")),
            _ => say::done(name, took),
        }
        self.lines.push(Line { name, took, counts });
    }

    pub(super) fn is_good(&self) -> bool {
        self.total().failed == 0
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.lines.iter().for_each(|line| total += &line.counts);
        total
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.lines.iter().map(|Line { name, took, counts }| {
            [
                (*name).to_owned(),
                verdict(counts).to_owned(),
                counts.passed.to_string(),
                counts.failed.to_string(),
                counts.skipped.to_string(),
                say::duration(*took),
            ]
        });
        let table = table(
            ["step", "result", "passed", "failed", "skipped", "time"],
            2,
            rows,
        );
        writeln!(f, "\n{table}")?;

        let total = self.total();
        list(f, "failed", &total.failures)?;
        list(f, "skipped", &total.reasons)?;
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            total.passed, total.failed, total.skipped
        )
    }
}

const FAILED: &str = "FAILED";
const SKIPPED: &str = "skipped";

fn verdict(counts: &Counts) -> &'static str {
    match (counts.failed, counts.passed) {
        (0, 0) if counts.skipped > 0 => SKIPPED,
        (0, _) => "ok",
        _ => FAILED,
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum_alone() {
        let mut report = Report::default();
        report.add("unit", || {
            Ok(Counts {
                passed: 3,
                ..Counts::default()
            })
        });
        report.add("deny", || {
            Ok(Counts::skipped("deny: not installed".to_owned()))
        });
        assert!(report.is_good());
        report.add("lints", || anyhow::bail!("clippy is not there"));
        assert!(!report.is_good());
        let text = report.to_string();
        assert_eq!(text.lines().last(), Some("3 passed, 1 failed, 1 skipped"));
        assert!(
            text.contains("lints: clippy is not there") && text.contains("deny: not installed"),
            "{text}"
        );
    }
}
