//! CPU time of all that takes part in a request: the servers by their cgroups, the client as a child
//! that has ended. Whoever's time the kernel spends on a packet, it is one of theirs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

/// What the cgroups (Linux 4.15, whether or not they have the cpu controller) and the children that were
/// waited for have spent so far.
///
/// # Errors
/// The kernel does not say.
pub(super) fn spent(cgroups: &[&Path]) -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("no resource usage of children")?;
    let mut spent = duration(usage.user_time()) + duration(usage.system_time());
    for cgroup in cgroups {
        let path = cgroup.join("cpu.stat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let micros = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))
            .and_then(|micros| micros.parse().ok())
            .with_context(|| format!("{}: no usage_usec", path.display()))?;
        spent += Duration::from_micros(micros);
    }
    Ok(spent)
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(time.num_microseconds().try_into().unwrap_or(0))
}
