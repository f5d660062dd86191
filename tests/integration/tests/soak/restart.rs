//! The restarts of the servers: reloads, killed workers, and servers that end and start again.

use std::time::Duration;

use ebb_fixtures::Signal;

use super::pod::Pod;
use super::random::Random;

/// Time that a server gets to end in order before it is killed. Clients that keep their connections hold up some
/// servers.
const GRACE: Duration = Duration::from_secs(1);

/// One way to disturb a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Restart {
    /// The server replaces its workers.
    Reload,
    /// A worker is killed with SIGKILL.
    KillWorker,
    /// The server is asked to end, and starts again.
    Stop,
    /// The server is killed with SIGKILL, and starts again.
    Kill,
}

/// The restarts of a run, in a random order that repeats.
pub(super) struct Restarts {
    order: Vec<(usize, Restart)>,
    done: usize,
}

impl Restarts {
    pub(super) fn new(pods: &[Pod<'_>], random: &mut Random) -> Self {
        let mut order: Vec<_> = (pods.iter().enumerate())
            .flat_map(|(index, pod)| pod.restarts().iter().map(move |way| (index, *way)))
            .collect();
        random.shuffle(&mut order);
        Self { order, done: 0 }
    }

    /// Does the next restart.
    pub(super) fn next(&mut self, pods: &mut [Pod<'_>]) {
        let (index, way) = self.order[self.done % self.order.len()];
        self.done += 1;
        let pod = &mut pods[index];
        pod.disturbed(way);
        match way {
            Restart::Reload => pod.server().reload(),
            Restart::KillWorker => assert!(pod.server().kill_worker(), "{}: no worker", pod.name()),
            Restart::Stop => pod.start_again(Signal::SIGTERM, GRACE),
            Restart::Kill => pod.start_again(Signal::SIGKILL, Duration::ZERO),
        }
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }
}
