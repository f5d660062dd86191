//! A pod's servers, in their own cgroup.

use std::path::Path;

use anyhow::Result;

use super::{nginx::Nginx, sample::Sample};
use ebb_fixtures::TestCgroup;

/// nginx and `ebb-sample` in their cgroup.
#[derive(Debug)]
pub(super) struct Site {
    // The fields are dropped in this order.
    nginx: Nginx,
    sample: Sample,
    cgroup: TestCgroup,
}

impl Site {
    /// # Errors
    /// If a server is not built, or its folder cannot be created.
    ///
    /// # Panics
    /// If a server does not start.
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
