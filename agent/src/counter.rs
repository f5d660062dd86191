//! The kernel counter: one load of the programs, attached to any number of cgroups.
//!
//! Nothing is pinned here: when the process ends, however it ends, the kernel detaches the programs.

use std::{collections::BTreeMap, fs::File, path::Path, time::Duration};

#[expect(
    deprecated,
    reason = "its successor, CGRP_STORAGE, needs Linux 6.2; this one is there from 4.19"
)]
use aya::maps::CgroupStorage;
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, CgroupStorageKey, HashMap, Map, MapData, ProgramArray},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program, ProgramError, SockOps,
        cgroup_skb::CgroupSkbLink, sock_ops::SockOpsLink,
    },
};
use ebb_common::abi::{Exclusion, MAX_PODS, NO_SLOT, PodCounters, PodRules};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::{CounterError, Reading, Rules, cgroup, mapped::Mapped};

/// `BPF_CGROUP_SOCK_OPS` of `enum bpf_attach_type`: part of the key of a cgroup's storage.
const CGROUP_SOCK_OPS: u32 = 3;

const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBB_KERNEL_OBJECT"));

/// A cgroup that is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId(u32);

/// The links of one cgroup: dropping them detaches the programs.
#[derive(Debug)]
struct Attached {
    exclusions: Vec<Exclusion>,
    _links: (CgroupSkbLink, CgroupSkbLink, SockOpsLink),
}

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Counter {
    kernel: Ebpf,
    counters: Mapped,
    pods: BTreeMap<PodId, Attached>,
    /// Slots are handed out in turn, so that one is not soon used again: an old connection may outlive its pod.
    last: u32,
}

impl Counter {
    /// Loads the programs. Needs Linux 5.10, and root or CAP_BPF and CAP_NET_ADMIN.
    ///
    /// # Errors
    /// If the process may not, or the kernel refuses them.
    pub fn load() -> Result<Self, CounterError> {
        // Before 5.11 maps count as locked memory. Where it may not be raised it need not be.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        let mut kernel = EbpfLoader::new().load(OBJECT).map_err(|error| {
            if nix::unistd::geteuid().is_root() {
                CounterError::Load(Box::new(error))
            } else {
                CounterError::NotPermitted
            }
        })?;
        for name in ["requests", "early", "responses"] {
            let program: &mut CgroupSkb = program(&mut kernel, name)?;
            program.load().map_err(|source| refused(name, source))?;
        }
        let sockets: &mut SockOps = program(&mut kernel, "sockets")?;
        sockets
            .load()
            .map_err(|source| refused("sockets", source))?;
        continue_in_itself(&mut kernel)?;
        let Some(Map::Array(pods)) = kernel.map("PODS") else {
            return Err(CounterError::Incomplete("array PODS"));
        };
        let counters = Mapped::new(pods)?;
        Ok(Self {
            kernel,
            counters,
            pods: BTreeMap::new(),
            last: NO_SLOT,
        })
    }

    /// Begins to count in a cgroup and all below it. Connections that are open already are not counted.
    ///
    /// # Errors
    /// If it is no cgroup, the rules cannot be kept, or the kernel refuses.
    pub fn attach(&mut self, path: &Path, rules: &Rules) -> Result<PodId, CounterError> {
        let id = cgroup::id(path)?;
        let pod = self.free_slot()?;
        let (kernel_rules, exclusions) = rules.for_kernel(pod.0)?;
        self.write_rules(pod, &kernel_rules, &exclusions)?;
        let cgroup = || {
            File::open(path).map_err(|source| {
                CounterError::Cgroup(cgroup::CgroupError::Missing {
                    path: path.to_owned(),
                    source,
                })
            })
        };
        // Bytes first: a connection that `sockets` takes on must have none that are not seen.
        let requests = self.attach_bytes("requests", cgroup()?, CgroupSkbAttachType::Ingress)?;
        let responses = self.attach_bytes("responses", cgroup()?, CgroupSkbAttachType::Egress)?;
        let program: &mut SockOps = program(&mut self.kernel, "sockets")?;
        let sockets = program
            .attach(cgroup()?, CgroupAttachMode::Single)
            .and_then(|link| program.take_link(link))
            .map_err(|source| refused("sockets", source))?;
        self.name_slot(id, pod)?;
        self.last = pod.0;
        self.pods.insert(
            pod,
            Attached {
                exclusions,
                _links: (requests, responses, sockets),
            },
        );
        Ok(pod)
    }

    /// Ends the counting of a cgroup. Its figures are gone.
    pub fn detach(&mut self, pod: PodId) {
        let Some(attached) = self.pods.remove(&pod) else {
            return;
        };
        if let Ok(mut map) = self.exclusions() {
            for exclusion in &attached.exclusions {
                // Gone already is as good.
                let _ = map.remove(exclusion);
            }
        }
    }

    /// The figures of a cgroup now.
    ///
    /// # Errors
    /// If it is not being counted.
    pub fn read(&self, pod: PodId) -> Result<Reading, CounterError> {
        if !self.pods.contains_key(&pod) {
            return Err(CounterError::Unknown(pod.0));
        }
        let cells = self.counters.read(pod.0)?;
        // Read last: what is in the cells has happened by then.
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .map_err(CounterError::Clock)?;
        Ok(Reading::new(Duration::from(now), &cells))
    }

    fn free_slot(&self) -> Result<PodId, CounterError> {
        let slots = MAX_PODS - 1;
        (0..slots)
            .map(|step| PodId((self.last + step) % slots + 1))
            .find(|pod| !self.pods.contains_key(pod))
            .ok_or(CounterError::Full(slots))
    }

    fn attach_bytes(
        &mut self,
        name: &'static str,
        cgroup: File,
        way: CgroupSkbAttachType,
    ) -> Result<CgroupSkbLink, CounterError> {
        let program: &mut CgroupSkb = program(&mut self.kernel, name)?;
        // Single is flags 0, which links must have; links share a cgroup all the same.
        program
            .attach(cgroup, way, CgroupAttachMode::Single)
            .and_then(|link| program.take_link(link))
            .map_err(|source| refused(name, source))
    }

    fn write_rules(
        &mut self,
        pod: PodId,
        rules: &PodRules,
        exclusions: &[Exclusion],
    ) -> Result<(), CounterError> {
        let mut map: Array<_, PodRules> = self.map("RULES")?;
        map.set(pod.0, rules, 0)
            .map_err(|source| map_error("RULES", source))?;
        let mut map: Array<_, PodCounters> = self.map("PODS")?;
        map.set(pod.0, PodCounters::ZERO, 0)
            .map_err(|source| map_error("PODS", source))?;
        let mut map = self.exclusions()?;
        for exclusion in exclusions {
            map.insert(exclusion, 1, 0)
                .map_err(|source| map_error("EXCLUSIONS", source))?;
        }
        Ok(())
    }

    fn name_slot(&mut self, cgroup: u64, pod: PodId) -> Result<(), CounterError> {
        #[expect(deprecated, reason = "see the import")]
        let mut map: CgroupStorage<_, u64> = self.map("SLOT")?;
        map.insert(
            CgroupStorageKey::new(cgroup, CGROUP_SOCK_OPS),
            u64::from(pod.0),
            0,
        )
        .map_err(|source| map_error("SLOT", source))
    }

    fn exclusions(&mut self) -> Result<HashMap<&mut MapData, Exclusion, u32>, CounterError> {
        self.map("EXCLUSIONS")
    }

    fn map<'a, M>(&'a mut self, name: &'static str) -> Result<M, CounterError>
    where
        M: TryFrom<&'a mut Map, Error = aya::maps::MapError>,
    {
        self.kernel
            .map_mut(name)
            .ok_or(CounterError::Incomplete(name))?
            .try_into()
            .map_err(|source| map_error(name, source))
    }
}

/// Lets `requests` and `responses` call themselves for packets of many lines, and `requests` call `early`.
fn continue_in_itself(kernel: &mut Ebpf) -> Result<(), CounterError> {
    for (array, name) in [
        ("MORE_REQUESTS", "requests"),
        ("EARLY_REQUESTS", "early"),
        ("MORE_RESPONSES", "responses"),
    ] {
        let program: &mut CgroupSkb = program(kernel, name)?;
        let fd = program
            .fd()
            .and_then(|fd| fd.try_clone().map_err(ProgramError::IOError))
            .map_err(|source| refused(name, source))?;
        let mut programs: ProgramArray<_> = kernel
            .map_mut(array)
            .ok_or(CounterError::Incomplete(array))?
            .try_into()
            .map_err(|source| map_error(array, source))?;
        programs
            .set(0, &fd, 0)
            .map_err(|source| map_error(array, source))?;
    }
    Ok(())
}

fn program<'a, P>(kernel: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, CounterError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    kernel
        .program_mut(name)
        .ok_or(CounterError::Incomplete(name))?
        .try_into()
        .map_err(|source| refused(name, source))
}

fn refused(name: &'static str, source: ProgramError) -> CounterError {
    if !nix::unistd::geteuid().is_root() {
        return CounterError::NotPermitted;
    }
    let reason = match source {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            tracing::debug!(program = name, %verifier_log, "refused by the verifier");
            format!("refused by the verifier ({io_error})")
        }
        source => source.to_string(),
    };
    CounterError::Program { name, reason }
}

fn map_error(name: &'static str, source: aya::maps::MapError) -> CounterError {
    CounterError::Map {
        name,
        source: Box::new(source),
    }
}
