//! Problems of settings as an error's text: one line each, all that were found.

use std::fmt;

use ebb_autoscaler_core::Problems;

/// One line per problem, each beginning with `what` has it.
pub(crate) fn lines(what: &str, problems: &Problems) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{what} {problem}"))
        .collect()
}

/// Shows the lines of several problems.
pub(crate) struct Lines<'a>(pub(crate) &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
