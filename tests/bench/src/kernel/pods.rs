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

/// Interval between two readings of `ebb watch`. It is much shorter than a load, so that the wait for the counts after
/// a load is short too.
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
    /// Sends requests to nginx. Returns the runs of the kernel programs and the number of requests.
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
        // nginx also counts the second query of its request count, so 1 is subtracted.
        let requests = nginx::requests(nginx)? - asked - 1;
        Ok(Cost {
            hooks: after - before,
            requests,
        })
    }

    /// Transfers one long body, and returns the runs of the kernel programs for its packets.
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

/// The results of one round: of the pod with Ebb's programs, and of the pod with programs that do nothing.
pub(super) struct Turn<T> {
    pub(super) ours: T,
    pub(super) empty: T,
    /// Number of requests that Ebb counted or excluded in this round. All of them went to the pod with Ebb's programs.
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
        // All connections to the pod with Ebb's programs have ended. So if Ebb's programs still run, they run, wrongly,
        // for packets of the pod with empty programs.
        let idle = self.counted.runs()?;
        let empty = load(&self.bare)?;
        self.runs_for_others += (self.counted.runs()? - idle).total().count;
        Ok(Turn {
            ours,
            empty,
            counted,
        })
    }

    /// Returns how often Ebb's programs ran while only the pod with empty programs received load.
    pub(super) fn runs_for_others(&self) -> u64 {
        self.runs_for_others
    }
}
