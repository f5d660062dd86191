//! Warns if the socket that listens on the port of a replica was created outside the cgroup of the replica, because
//! then its requests are not counted. Examples: `docker run` (the socket belongs to the Docker daemon), and a socket
//! that the command gets from another process.
//!
//! Failure mode: if the socket cannot be checked, this is logged, and the replica serves all the same.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{debug, warn};

use crate::listeners;

/// The checks of all replicas of a run. Each cgroup with such sockets is reported once.
#[derive(Debug, Default)]
pub(crate) struct ListenerCheck {
    /// The ids of the cgroups that were reported.
    reported: Mutex<HashSet<u64>>,
}

impl ListenerCheck {
    /// Checks a replica that is ready, on a thread of the runtime's pool. Does not wait for the result.
    pub(crate) fn check(self: &Arc<Self>, replica: u64, port: u16, cgroup: PathBuf) {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || match listeners::on_port(port, &cgroup) {
            Ok(Some(listener)) if this.is_new(listener.cgroup) => warn!(
                replica,
                "{listener}; COMMAND must open the port itself, in the cgroup in which it is started"
            ),
            Ok(_) => {}
            Err(problem) => debug!(
                replica,
                %problem,
                "cannot check whether the listening socket was created in the cgroup of the replica"
            ),
        });
    }

    fn is_new(&self, cgroup: u64) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.insert(cgroup)
    }
}
