//! The CPU time of a request: the sum of the CPU time of the servers, measured by their cgroups, and of the client,
//! measured as a child process that has ended. The sum contains the kernel's CPU time for packets, because the kernel
//! charges it to either a server or the client.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

/// Returns the sum of the CPU time of the cgroups so far (Linux 4.15, with or without the cpu controller) and of the
/// child processes that have ended and were waited for.
///
/// # Errors
/// If the kernel does not report the CPU time.
pub(super) fn spent(cgroups: &[&Path]) -> Result<Duration> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the CPU time of children")?;
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
