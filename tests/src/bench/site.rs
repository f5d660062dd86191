//! The servers of a pod, in a cgroup of their own.

use std::path::Path;

use anyhow::Result;

use super::{nginx::Nginx, sample::Sample};
use crate::harness::TestCgroup;

/// nginx and `ebb-sample` in their cgroup.
#[derive(Debug)]
pub(super) struct Site {
    // In the order they are to be taken away.
    nginx: Nginx,
    sample: Sample,
    cgroup: TestCgroup,
}

impl Site {
    /// # Errors
    /// A server is not built, or has no folder to run in.
    ///
    /// # Panics
    /// A server does not start.
    pub(super) fn new() -> Result<Self> {
        let cgroup = TestCgroup::new();
        Ok(Self {
            nginx: Nginx::start(&cgroup)?,
            sample: Sample::start(&cgroup)?,
            cgroup,
        })
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
