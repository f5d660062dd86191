//! Checks the counter on other kernels. Each check on each kernel counts as one test.

use anyhow::Result;

use super::count::Counts;
use crate::{
    cargo::Workspace,
    kernels::{KERNELS, Kernel, Outcome, Release, Report, Verdict, check},
    setup,
};

/// The kernels that are always checked: the oldest supported kernel, and the kernel of Debian's stable release. The
/// kernels between the two have the features that both have. `EBB_TEST_FULL=1` checks all kernels.
const ALWAYS: [&str; 2] = ["5.10", "6.12"];

/// Boots the kernels. A kernel that cannot be fetched is skipped; a kernel that is available must pass.
pub(super) fn run(workspace: &Workspace) -> Result<Counts> {
    if let Err(error) = setup::kernel_tools() {
        return Ok(Counts::skipped(format!("other kernels: {error:#}")));
    }
    let full = std::env::var_os("EBB_TEST_FULL").is_some_and(|value| value == "1");
    let wanted = |release: &&Release| full || ALWAYS.contains(&release.version);
    let mut counts = Counts::default();
    let mut outcomes = Vec::new();
    for release in KERNELS.iter().filter(wanted) {
        match Kernel::get(release, false) {
            Ok(kernel) => outcomes.push(check(workspace, &kernel, None)?),
            Err(error) => counts += &Counts::skipped(format!("{error:#}")),
        }
    }
    println!("{}", Report(&outcomes));
    for outcome in &outcomes {
        counts += &count(outcome);
    }
    Ok(counts)
}

fn count(outcome: &Outcome) -> Counts {
    let mut counts = Counts::default();
    for check in &outcome.checks {
        let name = format!("kernel {}: {}", outcome.kernel, check.name);
        match &check.verdict {
            Verdict::Passed => counts.passed += 1,
            Verdict::Failed => {
                counts.failed += 1;
                counts.failures.push(name);
            }
            Verdict::Lacking(reason) => {
                counts.skipped += 1;
                counts.reasons.push(format!("{name}: {reason}"));
            }
        }
    }
    if !outcome.is_good() && counts.failed == 0 {
        counts.failed = 1;
        counts
            .failures
            .push(format!("kernel {}: cut short", outcome.kernel));
    }
    counts
}
