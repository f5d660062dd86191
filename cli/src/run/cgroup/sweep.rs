//! Removes the processes and cgroups that dead runs left behind.
//!
//! A run that gets SIGKILL cannot clean up. Its replicas die with it (PR_SET_PDEATHSIG), but processes that the
//! replicas started stay, and so do the cgroups. The next run kills these processes and removes the cgroups before it
//! starts replicas.
//!
//! Bias: a run whose lock is held counts as alive, and its cgroups stay. Failure mode: a cgroup that cannot be removed
//! is logged and stays until the next sweep; this run starts nevertheless.

use std::path::Path;

use tracing::{info, warn};

use super::{
    PARENT, RUN_PREFIX, TreeError,
    group::{Group, IgnoreGone as _, children},
    lock, remove_parent,
};

/// Removes the processes and cgroups of dead runs below `mount`, the cgroup v2 mount point.
pub(crate) async fn sweep(mount: &Path) -> Result<(), TreeError> {
    let parent = mount.join(PARENT);
    let runs = children(&parent)
        .ignore_gone()
        .map_err(TreeError::io("list it", &parent))?
        .unwrap_or_default();
    for run in runs.iter().filter(|path| is_run(path)) {
        match sweep_run(run).await {
            Ok(true) => info!(cgroup = %run.display(), "removed the cgroups of a dead run"),
            Ok(false) => {}
            Err(error) => warn!(%error, "cannot remove the cgroups of a dead run"),
        }
    }
    if runs.is_empty() {
        return Ok(());
    }
    remove_parent(&parent.join(RUN_PREFIX))
}

/// Removes the cgroups of one run unless the run is alive. Returns whether the cgroups were removed.
async fn sweep_run(run: &Path) -> Result<bool, TreeError> {
    // The lock is held until the directory is removed, so that two sweeps do not work on the same run.
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
