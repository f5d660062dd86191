//! Removes the leftovers of dead runs, which are found by their cgroups.
//!
//! A run that gets SIGKILL cannot clean up. Its replicas die with it (PR_SET_PDEATHSIG), but processes that the replicas
//! started stay, and so do the cgroups. The next run removes them before it does anything else.
//!
//! Bias: a run whose lock cannot be taken is alive, and nothing of it is touched. Failure mode: a leftover that
//! cannot be removed is logged and stays until the next sweep; it does not prevent this run from starting.

use std::path::Path;

use tracing::{info, warn};

use super::{
    PARENT, RUN_PREFIX, TreeError,
    group::{Group, IgnoreGone as _, children},
    lock, remove_parent,
};

/// Removes the leftovers of dead runs below `mount`, the cgroup v2 mount point.
pub(crate) async fn sweep(mount: &Path) -> Result<(), TreeError> {
    let parent = mount.join(PARENT);
    let runs = children(&parent)
        .ignore_gone()
        .map_err(TreeError::io("list it", &parent))?
        .unwrap_or_default();
    for run in runs.iter().filter(|path| is_run(path)) {
        match sweep_run(run).await {
            Ok(true) => info!(cgroup = %run.display(), "removed what a dead run left"),
            Ok(false) => {}
            Err(error) => warn!(%error, "a leftover of a dead run stays"),
        }
    }
    if runs.is_empty() {
        return Ok(());
    }
    remove_parent(&parent.join(RUN_PREFIX))
}

/// Removes one run unless it is alive; returns whether it was dead.
async fn sweep_run(run: &Path) -> Result<bool, TreeError> {
    // Held until the directory is gone, so that two sweeps do not work on the same run.
    let Some(_lock) = lock(run)? else {
        return Ok(false);
    };
    Group::new(run.to_owned()).kill_and_remove().await?;
    Ok(true)
}

fn is_run(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(RUN_PREFIX))
}
