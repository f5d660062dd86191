//! The servers and load generators that the integration tests use, all from the distribution.

use crate::exec;

/// Program and the package that has it.
const TOOLS: [(&str, &str); 7] = [
    ("ab", "apache2-utils"),
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("hey", "hey"),
    ("nginx", "nginx"),
    ("python3", "python3"),
    ("wrk", "wrk"),
];

/// The packages of those that are not there.
pub(super) fn missing_packages() -> Vec<&'static str> {
    TOOLS
        .iter()
        .filter(|(program, _)| exec::which(program).is_none())
        .map(|(_, package)| *package)
        .collect()
}
