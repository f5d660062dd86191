//! Formats the problems found in settings as the text of an error, one line per problem.

use std::fmt;

use ebb_autoscaler_core::Problems;

/// Returns one line per problem. Each line begins with `what`.
pub(crate) fn lines(what: &str, problems: &Problems) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{what} {problem}"))
        .collect()
}

/// Displays the given lines, separated by line feeds.
pub(crate) struct Lines<'a>(pub(crate) &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
