//! Formats the results of the checks as a table: a row for each check, a column for each kernel.

use std::fmt;

use super::outcome::{Outcome, Verdict};
use crate::{say, table::table};

/// The outcomes of all kernels.
pub(crate) struct Report<'a>(pub(crate) &'a [Outcome]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.0.iter().filter(|outcome| !outcome.failures.is_empty()) {
            writeln!(f, "kernel {}:", outcome.kernel)?;
            for line in &outcome.failures {
                writeln!(f, "  {line}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{}", self.table())?;
        self.lacking(f)
    }
}

impl Report<'_> {
    fn table(&self) -> comfy_table::Table {
        let outcomes = self.0;
        let checks = names(outcomes, |outcome| {
            outcome
                .checks
                .iter()
                .map(|check| check.name.as_str())
                .collect()
        });
        let mut figures = names(outcomes, |outcome| {
            outcome
                .measured
                .iter()
                .map(|(what, _)| what.as_str())
                .collect()
        });
        // The measured values are sorted by name, because kernels with different programs report different values.
        figures.sort_unstable();
        let mut rows = Vec::new();
        for name in checks {
            rows.push(row(name, outcomes, |outcome| verdict(outcome, name)));
        }
        for name in figures {
            rows.push(row(name, outcomes, |outcome| figure(outcome, name)));
        }
        rows.push(row("time, with the boot", outcomes, |outcome| {
            say::duration(outcome.took)
        }));
        let header = row("check", outcomes, |outcome| short(&outcome.kernel));
        table(header, 1, rows)
    }

    /// Writes the reasons of skipped checks, such as a feature that the kernel lacks, for each kernel.
    fn lacking(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.0 {
            let mut reasons: Vec<_> = outcome
                .checks
                .iter()
                .filter_map(|check| match &check.verdict {
                    Verdict::Lacking(reason) => Some(reason.as_str()),
                    _ => None,
                })
                .collect();
            reasons.dedup();
            if !reasons.is_empty() {
                writeln!(
                    f,
                    "kernel {}, reasons of skipped checks: {}",
                    outcome.kernel,
                    reasons.join("; ")
                )?;
            }
        }
        Ok(())
    }
}

/// Returns the names that `of` finds in the outcomes of all kernels. Each name occurs once, in the order of the first
/// kernel that has it.
fn names<'a>(outcomes: &'a [Outcome], of: impl Fn(&'a Outcome) -> Vec<&'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in outcomes.iter().flat_map(of) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn row(name: &str, outcomes: &[Outcome], cell: impl Fn(&Outcome) -> String) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend(outcomes.iter().map(cell));
    row
}

fn verdict(outcome: &Outcome, name: &str) -> String {
    let check = outcome.checks.iter().find(|check| check.name == name);
    match check.map(|check| &check.verdict) {
        Some(Verdict::Passed) => "ok",
        Some(Verdict::Failed) => "FAILED",
        Some(Verdict::Lacking(_)) => "lacking",
        None => "-",
    }
    .to_owned()
}

fn figure(outcome: &Outcome, name: &str) -> String {
    let found = outcome.measured.iter().find(|(what, _)| what == name);
    found.map_or("-", |(_, figure)| figure).to_owned()
}

/// Shortens a version such as `5.10.0-32-cloud-amd64` to `5.10.0-32`.
fn short(kernel: &str) -> String {
    kernel.split("-cloud").next().unwrap_or(kernel).to_owned()
}
