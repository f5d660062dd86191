//! The summary of a test run.

use std::{
    cmp::Reverse,
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::count::Counts;
use crate::{say, table::table};

/// How many of the slowest groups of tests are listed.
const SLOWEST: usize = 10;

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

    /// The slowest groups of tests with their times, the slowest first. A step without groups is one group.
    fn slowest(&self) -> Vec<(Duration, String)> {
        let groups = self.lines.iter().flat_map(|Line { name, took, counts }| {
            let groups = counts.groups.iter().map(|group| {
                let (what, tests) = (&group.name, group.tests);
                let plural = if tests == 1 { "" } else { "s" };
                (group.took, format!("{name}: {what} ({tests} test{plural})"))
            });
            let whole = (*took, (*name).to_owned());
            let whole = counts.groups.is_empty().then_some(whole);
            groups.chain(whole).collect::<Vec<_>>()
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|(took, _)| Reverse(*took));
        groups.truncate(SLOWEST);
        groups
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
        list(f, "skipped", &total.reasons)?;
        writeln!(f, "the ten slowest groups:")?;
        for (took, what) in self.slowest() {
            writeln!(f, "{:>5.0} s  {what}", took.as_secs_f64())?;
        }
        // The failures come last: some services keep only the end of a long output.
        list(f, "failed", &total.failures)?;
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
    use crate::test::count::Group;

    #[test]
    fn the_slowest_groups_of_all_steps_are_listed() {
        let group = |name: &str, tests, seconds| Group {
            name: name.to_owned(),
            tests,
            took: Duration::from_secs(seconds),
        };
        let mut report = Report::default();
        report.add("lints", || Ok(Counts::one(true)));
        report.add("end-to-end tests", || {
            let groups = (1..=9).map(|n| group(&format!("g{n}"), n, n)).collect();
            Ok(Counts {
                groups,
                ..Counts::one(true)
            })
        });
        report.add("integration tests", || {
            Ok(Counts {
                groups: vec![group("exact", 40, 312)],
                ..Counts::one(true)
            })
        });
        let text = report.to_string();
        let listed: Vec<_> = text
            .lines()
            .skip_while(|line| *line != "the ten slowest groups:")
            .skip(1)
            .take(SLOWEST)
            .collect();
        assert_eq!(listed[0], "  312 s  integration tests: exact (40 tests)");
        assert_eq!(listed[1], "    9 s  end-to-end tests: g9 (9 tests)");
        assert_eq!(listed[9], "    1 s  end-to-end tests: g1 (1 test)");
        assert!(!text.contains(" s  lints"), "{text}");
    }

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
