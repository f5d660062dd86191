//! Reasons why no request can be counted on a node.
//!
//! An agent that cannot count keeps running and reports the reason in its log, its metrics, `/readyz` and an Event on
//! the Node. The agent tries to load the counter again every 60 s, because a bpffs may be mounted later and permissions
//! may be granted later.

use std::{fs, path::PathBuf};

use ebb_agent::{
    CounterError,
    cgroup::{self, CgroupError},
    counter::{Adoption, Counter},
    pins::{Pins, PinsError},
};
use tracing::warn;

use super::kubelet::is_v1;

/// The oldest Linux version that can run the kernel programs.
const OLDEST: (u32, u32) = (5, 10);

/// Why no request can be counted on this node.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnavailableReason {
    /// The node has no cgroup v2, or kubelet places the cgroups of pods in cgroup v1.
    #[error(
        "this node has cgroup v1 only, or kubelet places pods in cgroup v1: Ebb counts requests in cgroup v2 \
         directories (see https://kubernetes.io/docs/concepts/architecture/cgroups/)"
    )]
    CgroupV1,
    /// The kernel is older than [`OLDEST`].
    #[error("this node's kernel is {release}: counting needs Linux {}.{} or later", OLDEST.0, OLDEST.1)]
    Kernel {
        /// The release, as `uname -r` prints it.
        release: String,
    },
    /// The counter could not be loaded.
    #[error(transparent)]
    Counter(#[from] CounterError),
}

impl UnavailableReason {
    /// Returns the reason as one word: the label of a metric, and the reason of an Event.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::CgroupV1 => "CgroupV1",
            Self::Kernel { .. } => "KernelTooOld",
            Self::Counter(CounterError::NotPermitted) => "NotPermitted",
            Self::Counter(CounterError::Pins(_)) => "PinsUnusable",
            Self::Counter(_) => "CounterUnusable",
        }
    }
}

/// A loaded counter, the result of the adoption, and whether the counter is pinned. A pinned counter continues to count
/// while no agent runs.
#[derive(Debug)]
pub(super) struct LoadedCounter {
    pub(super) counter: Counter,
    pub(super) adoption: Adoption,
    pub(super) pinned: bool,
}

/// The paths that are needed to load the counter.
#[derive(Clone, Debug)]
pub(super) struct CounterPaths {
    /// The directory for pinned kernel objects.
    pub(super) pins: PathBuf,
    /// Kubelet's `--cgroup-root`.
    pub(super) kubelet_cgroup_root: String,
}

impl CounterPaths {
    /// Loads the counter, or returns why it cannot be loaded. Takes seconds, because the kernel verifies the programs.
    pub(super) fn load(&self) -> Result<LoadedCounter, UnavailableReason> {
        let release = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        if version(&release).is_some_and(|version| version < OLDEST) {
            return Err(UnavailableReason::Kernel { release });
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        match cgroup::v2_mount() {
            Err(CgroupError::NotMounted) => return Err(UnavailableReason::CgroupV1),
            _ if is_v1(&mounts, &self.kubelet_cgroup_root) => {
                return Err(UnavailableReason::CgroupV1);
            }
            _ => {}
        }
        match Pins::open(&self.pins) {
            Ok(pins) => {
                let (counter, adoption) = Counter::pinned(pins)?;
                Ok(LoadedCounter {
                    counter,
                    adoption,
                    pinned: true,
                })
            }
            // Without a bpffs, the counter is loaded without pins, and its counting stops when the agent ends.
            Err(error @ PinsError::NotBpffs { .. }) => {
                warn!(%error, "the counter is not pinned: while the agent restarts, no request is counted");
                Ok(LoadedCounter {
                    counter: Counter::load()?,
                    adoption: Adoption::default(),
                    pinned: false,
                })
            }
            Err(error) => Err(CounterError::Pins(error).into()),
        }
    }
}

/// Returns the first two numbers of a kernel release such as `5.10.0-28-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|byte: char| !byte.is_ascii_digit())
        .map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, old) in [
            ("4.18.0-553.el8.x86_64", true),
            ("5.4.0-1103-aws", true),
            ("5.9.16", true),
            ("5.10.0-28-amd64", false),
            ("6.1.0-18-cloud-amd64", false),
            ("10.0", false),
            // A kernel release that cannot be parsed is accepted.
            ("next", false),
        ] {
            let is_old = version(release).is_some_and(|version| version < OLDEST);
            assert_eq!(is_old, old, "{release}");
        }
    }

    #[test]
    fn each_reason_names_itself() {
        let kernel = UnavailableReason::Kernel {
            release: "4.18.0".to_owned(),
        };
        assert_eq!(
            kernel.to_string(),
            "this node's kernel is 4.18.0: counting needs Linux 5.10 or later"
        );
        assert_eq!(kernel.label(), "KernelTooOld");
        assert_eq!(UnavailableReason::CgroupV1.label(), "CgroupV1");
    }
}
