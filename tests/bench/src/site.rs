//! The servers of a pod, in a private cgroup.

use std::path::Path;

use ebb_fixtures::{
    TestCgroup,
    server::{Nginx, Sample},
};

use super::nginx;

/// nginx and `ebb-sample` in a common cgroup.
#[derive(Debug)]
pub(super) struct Site {
    // Fields are dropped in the order of their declaration: the servers end before their cgroup is removed.
    nginx: Nginx,
    sample: Sample,
    cgroup: TestCgroup,
}

impl Site {
    /// Creates the cgroup and starts both servers in it.
    ///
    /// # Panics
    /// If a server does not start.
    pub(super) fn new() -> Self {
        let cgroup = TestCgroup::new();
        Self {
            nginx: nginx::start(&cgroup),
            sample: Sample::start(&cgroup),
            cgroup,
        }
    }

    pub(super) fn nginx(&self) -> &Nginx {
        &self.nginx
    }

    pub(super) fn sample(&self) -> &Sample {
        &self.sample
    }

    pub(super) fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }
}
