//! Checks that crates of this workspace do not depend on crates that are forbidden for them.
//!
//! [`RULES`] is the list. Bias: an indirect dependency counts like a direct one. Failure mode: only the default
//! features and the host's target are checked, so a dependency that another feature or target adds is not found.

use anyhow::{Context as _, Result};

use super::count::Counts;
use crate::{cargo::Workspace, exec, say};

/// A crate, and the crates that it must not depend on.
struct Rule {
    /// The crate's name.
    package: &'static str,
    /// The names of the crates that the crate must not depend on.
    forbidden: &'static [&'static str],
    /// The reason why these crates are forbidden.
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        package: "ebb-agent",
        forbidden: &["ebb-parser"],
        reason: "of the kernel crates, the agent links only the ABI",
    },
    Rule {
        package: "ebb-engine",
        forbidden: &["tokio", "hyper", "kube"],
        reason: "the engine does no I/O",
    },
];

/// Checks all rules; each rule counts as one test.
pub(super) fn check(workspace: &Workspace) -> Result<Counts> {
    let mut counts = Counts::default();
    for rule in RULES {
        let found = rule.broken_by(&tree(workspace, rule.package)?);
        let mut result = Counts::one(found.is_empty());
        for name in found {
            let failure = format!("{} depends on {name}: {}", rule.package, rule.reason);
            say::note(&failure);
            say::note(&format!(
                "to see the chain of dependencies: cargo tree -p {} --edges normal --invert {name}",
                rule.package
            ));
            result.failures.push(failure);
        }
        counts += &result;
    }
    Ok(counts)
}

/// Returns the output of `cargo tree` for `package`: the package and all its dependencies, one line each, the name
/// first.
fn tree(workspace: &Workspace, package: &str) -> Result<String> {
    let mut cargo = workspace.cargo(["tree", "--edges", "normal", "--prefix", "none"]);
    cargo.args(["-p", package]);
    exec::output(&mut cargo).with_context(|| format!("cargo tree -p {package} failed"))
}

impl Rule {
    /// Returns the forbidden crates in the output of `cargo tree`.
    fn broken_by(&self, tree: &str) -> Vec<&'static str> {
        let has = |name: &str| {
            tree.lines()
                .any(|line| line.split(' ').next() == Some(name))
        };
        let forbidden = self.forbidden.iter().copied();
        forbidden.filter(|name| has(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        let rule = Rule {
            package: "a",
            forbidden: &["b", "d"],
            reason: "a test",
        };
        let tree =
            |last: &str| format!("a v0.1.0 (/a)\nb-testing v0.1.0 (/b)\n{last} v1.2.3 (*)\n");
        assert_eq!(rule.broken_by(&tree("c")), [""; 0]);
        assert_eq!(rule.broken_by(&tree("d")), ["d"]);
    }
}
