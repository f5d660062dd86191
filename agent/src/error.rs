//! Errors of the kernel counter.

use std::path::PathBuf;

use crate::{cgroup::CgroupError, pins::PinsError, rules::RulesError};

/// Why the kernel counter cannot be loaded, attached or read.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The process lacks the permission to load kernel programs.
    #[error(
        "not root: loading the kernel programs needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN"
    )]
    NotPermitted,
    /// The object file with the kernel programs could not be loaded.
    #[error("cannot load the kernel programs: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// The object file lacks a program or a map that this process needs, because it was built from other sources.
    #[error("the object file with the kernel programs has no {0}")]
    Incomplete(&'static str),
    /// The verifier rejected a program, or the program could not be attached. The verifier's message has many lines and
    /// is written to the debug log.
    #[error("kernel program {name}: {reason}")]
    Program {
        /// Name of the program.
        name: String,
        /// The reason why the program was rejected.
        reason: String,
    },
    /// A map could not be read or written.
    #[error("kernel map {name}: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// The kernel's error.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// The counters could not be mapped into this process.
    #[error("cannot map the counters: {0}")]
    Mapping(#[source] std::io::Error),
    /// The directory is not a cgroup, or cgroup v2 is not mounted.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The counting rules of a pod are invalid.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The directory of pins cannot be used.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The cgroup is already counted, and a second counter would count each request twice. The fields are the path of
    /// the cgroup and its slot.
    #[error("cgroup {0} is already counted, in pod slot {1}")]
    Twice(PathBuf, u32),
    /// All pod slots are in use. The field is the number of slots.
    #[error("{0} cgroups are counted already, which is the maximum")]
    Full(u32),
    /// No counted pod has this slot.
    #[error("no counted pod has pod slot {0}")]
    Unknown(u32),
    /// The counters of a pod changed during every attempt to read them. The fields are the slot of the pod and the
    /// number of attempts.
    #[error("the counters in pod slot {0} changed during each of {1} attempts to read them")]
    Unsteady(u32, u32),
    /// The clock could not be read.
    #[error("cannot read the monotonic clock: {0}")]
    Clock(#[source] nix::errno::Errno),
}
