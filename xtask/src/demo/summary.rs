//! Formats the demo as a table: the requests of each phase, their responses, and the replicas.

use std::{fmt, time::Duration};

use super::{load::Outcome, script::Played, timeline::Span};
use crate::table::table;

/// A table with a row for each phase.
pub(super) struct Summary<'a>(pub(super) &'a Played);

impl Summary<'_> {
    fn row(&self, span: &Span, outcome: &Outcome) -> [String; 10] {
        let length = span.to - span.from;
        let milliseconds = |time: Option<Duration>| {
            time.map_or_else(
                || "-".to_owned(),
                |time| format!("{:.0}", time.as_secs_f64() * 1e3),
            )
        };
        let rate = outcome.requests() as f64 / length.max(f64::EPSILON);
        [
            span.name.to_owned(),
            format!("{length:.1}"),
            span.clients.to_string(),
            outcome.requests().to_string(),
            if outcome.requests() > 1 {
                format!("{rate:.0}")
            } else {
                "-".to_owned()
            },
            outcome.failures.len().to_string(),
            milliseconds(outcome.quantile(0.5)),
            milliseconds(outcome.quantile(0.99)),
            if span.clients > 0 {
                format!("{:.1}", self.0.timeline.mean_concurrency(span))
            } else {
                "-".to_owned()
            },
            self.0.timeline.ready_at(span.to).to_string(),
        ]
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "phase",
            "seconds",
            "clients",
            "requests",
            "per s",
            "not 200",
            "p50 ms",
            "p99 ms",
            "in flight",
            "replicas",
        ];
        let phases = self.0.timeline.spans.iter().zip(&self.0.outcomes);
        let table = table(
            header,
            1,
            phases.map(|(span, outcome)| self.row(span, outcome)),
        );
        writeln!(f, "{table}")?;
        write!(
            f,
            "in flight: mean of the requests in flight, counted in the kernel; replicas: ready at the end of the phase"
        )
    }
}
