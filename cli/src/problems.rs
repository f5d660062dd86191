//! The problems of settings as the text of an error: all of them, one line each.

use std::fmt;

use ebb_autoscaler_core::Problems;

/// Returns one line per problem, each with `what` at its start.
pub(crate) fn lines(what: &str, problems: &Problems) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{what} {problem}"))
        .collect()
}

/// Displays the lines of several problems.
pub(crate) struct Lines<'a>(pub(crate) &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
