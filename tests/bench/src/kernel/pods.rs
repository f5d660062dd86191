//! The two pods that are compared, and the kernel's run-time statistics, which are enabled while the pods exist.

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

/// Interval of `ebb watch`. It is short compared with a load, so that waiting for the counts is short too.
const INTERVAL: &str = "100ms";

/// The runs of the kernel programs and the number of requests during one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) hooks: Hooks,
    /// Number of requests, as the server counts them.
    pub(super) requests: u64,
}

impl Cost {
    /// Returns the number of runs of all programs per request.
    pub(super) fn runs_per_request(self) -> f64 {
        self.hooks.total().count as f64 / self.requests as f64
    }

    /// Returns the time in all programs per request, in ns.
    pub(super) fn per_request(self) -> f64 {
        self.hooks.total().time as f64 / self.requests as f64
    }

    /// Returns the sum, in ns, of the time of one ingress run and the time of one egress run.
    pub(super) fn one_of_each(self) -> f64 {
        self.hooks.ingress.each() + self.hooks.egress.each()
    }
}

/// The servers of a pod, with programs on their cgroup.
pub(super) struct Pod {
    site: Site,
    /// The id of the process that owns the programs.
    holder: u32,
}

impl Pod {
    /// Loads nginx, and returns the runs and requests of this load.
    ///
    /// # Errors
    /// If the measurement was interrupted, or if the client or server does not answer.
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
        // The second query of nginx's request count is a request that nginx counts too, so 1 is subtracted.
        let requests = nginx::requests(nginx)? - asked - 1;
        Ok(Cost {
            hooks: after - before,
            requests,
        })
    }

    /// Transfers one long body, and returns the runs for its packets.
    ///
    /// # Errors
    /// If the measurement was interrupted, or if the server does not answer.
    pub(super) fn stream(&self, way: Way, time: Duration) -> Result<Hooks> {
        let before = self.runs()?;
        stream::run(self.site.sample().address(), way, time)?;
        Ok(self.runs()? - before)
    }

    fn runs(&self) -> Result<Hooks> {
        Hooks::read(self.holder, self.site.cgroup())
    }
}

/// One pod that Ebb counts, and one pod whose programs do nothing.
pub(super) struct Pods {
    // Fields are dropped in the order of their declaration: programs are detached before the cgroups are removed.
    watch: Counted,
    _empty: Empty,
    counted: Pod,
    bare: Pod,
    runs_for_others: u64,
    _measuring: OwnedFd,
}

/// The results of one turn: of the pod with Ebb's programs, and of the pod with empty programs.
pub(super) struct Turn<T> {
    pub(super) ours: T,
    pub(super) empty: T,
    /// Number of requests that Ebb counted or excluded in this turn. All of them were in Ebb's pod.
    pub(super) counted: u64,
}

impl Pods {
    /// Starts both pods, attaches their programs, and enables the kernel's run-time statistics.
    ///
    /// # Errors
    /// If the kernel refuses the programs, or a server cannot be started.
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
    /// If `load` fails, or if programs have disappeared.
    pub(super) fn turn<T>(&mut self, load: impl Fn(&Pod) -> Result<T>) -> Result<Turn<T>> {
        let before = self.watch.requests();
        let ours = load(&self.counted)?;
        let counted = self.watch.requests() - before;
        // The connections of Ebb's pod have ended, so any further run of Ebb's programs would be for packets of the pod
        // with empty programs.
        let idle = self.counted.runs()?;
        let empty = load(&self.bare)?;
        self.runs_for_others += (self.counted.runs()? - idle).total().count;
        Ok(Turn {
            ours,
            empty,
            counted,
        })
    }

    /// Returns the number of runs of Ebb's programs while only the pod with empty programs was loaded.
    pub(super) fn runs_for_others(&self) -> u64 {
        self.runs_for_others
    }
}
