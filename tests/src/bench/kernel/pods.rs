//! The two pods that are compared, with the kernel's stop-watch running.

use std::{os::fd::OwnedFd, path::Path, process, time::Duration};

use anyhow::Result;

use crate::bench::{
    bpf::{self, Empty},
    counted::Counted,
    load::Load,
    runs::Hooks,
    site::Site,
    stream::{self, Way},
};

/// Short beside a load, so that waiting for what was counted is too.
const INTERVAL: &str = "100ms";

/// What one load cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) hooks: Hooks,
    /// Requests as the server counts them.
    pub(super) requests: u64,
}

impl Cost {
    /// Runs of all programs, a request.
    pub(super) fn runs_per_request(self) -> f64 {
        self.hooks.total().count as f64 / self.requests as f64
    }

    /// Nanoseconds in all programs, a request.
    pub(super) fn per_request(self) -> f64 {
        self.hooks.total().time as f64 / self.requests as f64
    }

    /// Nanoseconds of one run at each of the two hooks that see packets.
    pub(super) fn one_of_each(self) -> f64 {
        self.hooks.ingress.each() + self.hooks.egress.each()
    }
}

/// Servers with programs on their cgroup.
pub(super) struct Pod {
    site: Site,
    /// The process that holds the programs.
    holder: u32,
}

impl Pod {
    /// Loads nginx; what that cost.
    ///
    /// # Errors
    /// Interrupted, or somebody does not answer.
    pub(super) fn requests(&self, load: Load, seconds: u32) -> Result<Cost> {
        let nginx = self.site.nginx();
        let address = match load {
            Load::Http1 { .. } => nginx.http1(),
            Load::Http2 { .. } => nginx.http2(),
        };
        let asked = nginx.requests()?;
        let before = self.runs()?;
        load.run(address, seconds)?;
        let after = self.runs()?;
        // The second question is itself one.
        let requests = nginx.requests()? - asked - 1;
        Ok(Cost {
            hooks: after - before,
            requests,
        })
    }

    /// Moves one long body; the runs of its packets.
    ///
    /// # Errors
    /// Interrupted, or the server does not answer.
    pub(super) fn stream(&self, way: Way, time: Duration) -> Result<Hooks> {
        let before = self.runs()?;
        stream::run(self.site.sample().address(), way, time)?;
        Ok(self.runs()? - before)
    }

    fn runs(&self) -> Result<Hooks> {
        Hooks::read(self.holder, self.site.cgroup())
    }
}

/// One pod that Ebb counts, one with programs that do nothing.
pub(super) struct Pods {
    // In the order they are to be taken away.
    watch: Counted,
    _empty: Empty,
    counted: Pod,
    bare: Pod,
    runs_for_others: u64,
    _measuring: OwnedFd,
}

/// What came out in one pod and in the other.
pub(super) struct Turn<T> {
    pub(super) ours: T,
    pub(super) empty: T,
    /// Requests that Ebb counted or excluded meanwhile, all of its pod.
    pub(super) counted: u64,
}

impl Pods {
    /// # Errors
    /// The kernel refuses, or a server cannot be started.
    ///
    /// # Panics
    /// The same, from the fixtures.
    pub(super) fn start(ebb: &Path) -> Result<Self> {
        let (counted, bare) = (Site::new()?, Site::new()?);
        let watch = Counted::start(ebb, counted.cgroup(), INTERVAL);
        Ok(Self {
            counted: Pod {
                site: counted,
                holder: watch.pid(),
            },
            watch,
            _empty: Empty::attach(bare.cgroup())?,
            bare: Pod {
                site: bare,
                holder: process::id(),
            },
            runs_for_others: 0,
            _measuring: bpf::measure_runs()?,
        })
    }

    /// The same load on both, one after the other.
    ///
    /// # Errors
    /// Those of `load`, or programs are gone.
    pub(super) fn turn<T>(&mut self, load: impl Fn(&Pod) -> Result<T>) -> Result<Turn<T>> {
        let before = self.watch.requests();
        let ours = load(&self.counted)?;
        let counted = self.watch.requests() - before;
        // Its connections have ended: what runs now would run for somebody else.
        let idle = self.counted.runs()?;
        let empty = load(&self.bare)?;
        self.runs_for_others += (self.counted.runs()? - idle).total().count;
        Ok(Turn {
            ours,
            empty,
            counted,
        })
    }

    /// Runs of Ebb's programs while only the other pod was under load.
    pub(super) fn runs_for_others(&self) -> u64 {
        self.runs_for_others
    }
}
