//! The two pods that are compared, with the kernel's run-time statistics enabled.

use std::{os::fd::OwnedFd, path::Path, process, time::Duration};

use anyhow::Result;

use crate::{
    bpf::{self, Empty},
    counted::Counted,
    load::Load,
    nginx,
    runs::Hooks,
    site::Site,
    stream::{self, Way},
};

/// Interval of `ebb watch`: short compared with a load, so that waiting for the counts is short too.
const INTERVAL: &str = "100ms";

/// The cost of one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) hooks: Hooks,
    /// Requests, as the server counts them.
    pub(super) requests: u64,
}

impl Cost {
    /// Runs of all programs per request.
    pub(super) fn runs_per_request(self) -> f64 {
        self.hooks.total().count as f64 / self.requests as f64
    }

    /// Nanoseconds in all programs per request.
    pub(super) fn per_request(self) -> f64 {
        self.hooks.total().time as f64 / self.requests as f64
    }

    /// Nanoseconds of one run at each of the two packet hooks, added.
    pub(super) fn one_of_each(self) -> f64 {
        self.hooks.ingress.each() + self.hooks.egress.each()
    }
}

/// A pod's servers, with programs on their cgroup.
pub(super) struct Pod {
    site: Site,
    /// The process that owns the programs.
    holder: u32,
}

impl Pod {
    /// Loads nginx and returns the cost.
    ///
    /// # Errors
    /// If interrupted, or if the client or server does not answer.
    pub(super) fn requests(&self, load: Load, seconds: u32) -> Result<Cost> {
        let nginx = self.site.nginx();
        let address = match load {
            Load::Http1 { .. } => nginx.address(),
            Load::Http2 { .. } => nginx.http2_address(),
        };
        let asked = nginx::requests(nginx)?;
        let before = self.runs()?;
        load.run(address, seconds)?;
        let after = self.runs()?;
        // The second query is a request itself.
        let requests = nginx::requests(nginx)? - asked - 1;
        Ok(Cost {
            hooks: after - before,
            requests,
        })
    }

    /// Moves one long body and returns the runs for its packets.
    ///
    /// # Errors
    /// If interrupted, or if the server does not answer.
    pub(super) fn stream(&self, way: Way, time: Duration) -> Result<Hooks> {
        let before = self.runs()?;
        stream::run(self.site.sample().address(), way, time)?;
        Ok(self.runs()? - before)
    }

    fn runs(&self) -> Result<Hooks> {
        Hooks::read(self.holder, self.site.cgroup())
    }
}

/// One pod that Ebb counts, and one whose programs do nothing.
pub(super) struct Pods {
    // The fields are dropped in this order.
    watch: Counted,
    _empty: Empty,
    counted: Pod,
    bare: Pod,
    runs_for_others: u64,
    _measuring: OwnedFd,
}

/// The result of one pod and of the other.
pub(super) struct Turn<T> {
    pub(super) ours: T,
    pub(super) empty: T,
    /// Requests that Ebb counted or excluded in this turn, all of them in its pod.
    pub(super) counted: u64,
}

impl Pods {
    /// # Errors
    /// If the kernel refuses, or a server cannot be started.
    ///
    /// # Panics
    /// If one of the fixtures cannot be started.
    pub(super) fn start(ebb: &Path) -> Result<Self> {
        let (counted, bare) = (Site::new(), Site::new());
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

    /// Puts the same load on both pods, one after the other.
    ///
    /// # Errors
    /// The errors of `load`, or if programs disappeared.
    pub(super) fn turn<T>(&mut self, load: impl Fn(&Pod) -> Result<T>) -> Result<Turn<T>> {
        let before = self.watch.requests();
        let ours = load(&self.counted)?;
        let counted = self.watch.requests() - before;
        // The counted pod's connections have ended: any run from here on would be for another cgroup's packets.
        let idle = self.counted.runs()?;
        let empty = load(&self.bare)?;
        self.runs_for_others += (self.counted.runs()? - idle).total().count;
        Ok(Turn {
            ours,
            empty,
            counted,
        })
    }

    /// Runs of Ebb's programs while only the other pod was loaded.
    pub(super) fn runs_for_others(&self) -> u64 {
        self.runs_for_others
    }
}
