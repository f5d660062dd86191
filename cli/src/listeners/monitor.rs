//! Repeated scans of a cgroup while it is watched.
//!
//! A server can start later, and a process can move into the cgroup later. The kernel has no notification for either,
//! so the scan is repeated.

use std::{
    collections::HashSet,
    mem::discriminant,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{OutsideListener, scan::Scanner};

/// Minimum time between two scans. A scan of a few processes takes about a millisecond.
const PERIOD: Duration = Duration::from_secs(3);

/// A scan is followed by a pause of at least this many times its duration. So on a large cgroup, the scans use at most
/// 2 % of one CPU.
const PAUSE: u32 = 50;

/// Scans a cgroup on a thread of its own until it is dropped, and logs each listening socket that was created outside.
#[derive(Debug)]
pub(crate) struct Monitor {
    found: Arc<AtomicU64>,
    /// The thread ends when this end of the channel is dropped. Nothing is sent.
    _running: Sender<()>,
}

impl Monitor {
    /// Starts to scan a cgroup and its descendants. `ports` are the ports that count; empty: all ports.
    pub(crate) fn start(cgroup: PathBuf, ports: Vec<u16>) -> Self {
        let found = Arc::new(AtomicU64::new(0));
        let (running, stopped) = channel();
        let scanner = Scanner::new(cgroup, ports);
        let counter = Arc::clone(&found);
        let started = thread::Builder::new()
            .name("listeners".to_owned())
            .spawn(move || run(scanner, &counter, &stopped));
        if let Err(error) = started {
            warn!(%error, "{UNCHECKED}");
        }
        Self {
            found,
            _running: running,
        }
    }

    /// Returns the number of different ports and cgroups of the sockets that were found so far.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

const UNCHECKED: &str = "cannot check whether all listening sockets were created in this cgroup";

fn run(mut scanner: Scanner, found: &AtomicU64, stopped: &Receiver<()>) {
    let mut logged = HashSet::new();
    loop {
        let start = Instant::now();
        let scan = scanner.scan();
        for listener in scan.found {
            warn!("{}", advice(&listener));
            // The socket is counted after it is logged, so that the log explains every count.
            found.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(problem) = scan.problem
            && logged.insert(discriminant(&problem))
        {
            info!(%problem, "{UNCHECKED}");
        }
        let pause = PERIOD.max(start.elapsed() * PAUSE);
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Returns the log message for a socket: what is wrong, and what the user can do.
fn advice(listener: &OutsideListener) -> String {
    let watch = listener.directory().map_or(String::new(), |path| {
        format!(
            ", or watch {} with --ports {}",
            path.display(),
            listener.port
        )
    });
    format!("{listener}; restart the server inside the watched cgroup{watch}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listeners::cgroups::Location;

    #[test]
    fn a_cgroup_that_still_exists_can_be_watched_instead() {
        let mut listener = OutsideListener {
            port: 80,
            holder: None,
            cgroup: 5,
            location: Location::Directory("/sys/fs/cgroup/a".into()),
        };
        let end = "; restart the server inside the watched cgroup";
        let other = ", or watch /sys/fs/cgroup/a with --ports 80";
        assert!(advice(&listener).ends_with(&format!("{end}{other}")));
        listener.location = Location::Removed;
        assert!(advice(&listener).ends_with(end));
    }
}
