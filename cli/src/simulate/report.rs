//! Formats the summary as text: one column, or two columns side by side and the change between them.

use std::fmt;

use super::summary::Summary;

/// A summary, and optionally a second summary to compare it with.
pub(super) struct Report<'a> {
    /// The summary of the first replay.
    pub(super) first: &'a Summary,
    /// The summary of the second replay, with other settings.
    pub(super) second: Option<&'a Summary>,
    /// Number of missing seconds of the trace that were filled.
    pub(super) filled: usize,
}

/// A line of the report: its name, and the function that returns its value.
type Figure = (&'static str, fn(&Summary) -> f64);

const FIGURES: [Figure; 11] = [
    ("pod-seconds used", |summary| summary.pod_seconds),
    ("pods at most", |summary| f64::from(summary.most_pods)),
    ("seconds under-provisioned", |summary| {
        summary.under_provisioned_seconds
    }),
    ("  of them without a ready pod", |summary| {
        summary.held_seconds
    }),
    ("highest concurrency per ready pod", |summary| {
        summary
            .highest_concurrency_per_ready_pod
            .unwrap_or(f64::NAN)
    }),
    ("scale changes", |summary| {
        (summary.scale_ups + summary.scale_downs) as f64
    }),
    ("  of them up", |summary| summary.scale_ups as f64),
    ("seconds in panic", |summary| summary.panic_seconds),
    ("target per pod", |summary| summary.settings.target),
    ("stable window, seconds", |summary| {
        summary.settings.stable_window as f64
    }),
    ("panic window, seconds", |summary| {
        summary.settings.panic_window as f64
    }),
];

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            seconds, decisions, ..
        } = self.first;
        write!(f, "{} s of traffic", figure(*seconds))?;
        if self.filled > 0 {
            write!(f, " ({} s filled in by --fill-gaps)", self.filled)?;
        }
        writeln!(f, ", {decisions} decisions")?;
        if self.second.is_some() {
            writeln!(
                f,
                "{:34} {:>12} {:>12} {:>12}",
                "", "first", "second", "change"
            )?;
        }
        for (name, of) in FIGURES {
            let first = of(self.first);
            write!(f, "{name:34} {:>12}", figure(first))?;
            if let Some(second) = self.second.map(of) {
                write!(f, " {:>12} {:>12}", figure(second), change(first, second))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Formats `value` with at most one decimal, or at most three if `value` is below 1; `-` if it is NaN.
fn figure(value: f64) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    let scale = if value < 1.0 { 1000.0 } else { 10.0 };
    ((value * scale).round() / scale).to_string()
}

/// Formats the change from `first` to `second` in per cent of `first`; empty if `first` is not above zero.
fn change(first: f64, second: f64) -> String {
    if first == second {
        "=".to_owned()
    } else if first > 0.0 && second.is_finite() {
        format!("{:+.1} %", (second - first) / first * 100.0)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(12.0), "12");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.007), "0.007");
        assert_eq!(figure(f64::NAN), "-");
        assert_eq!(change(10.0, 8.0), "-20.0 %");
        assert_eq!(change(0.0, 8.0), "");
        assert_eq!(change(8.0, 8.0), "=");
    }
}
