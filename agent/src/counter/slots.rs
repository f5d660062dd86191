//! The pod slots in the kernel's maps. The functions choose a free slot for a pod, and read and write the contents of a
//! slot.

#[expect(
    deprecated,
    reason = "the map type CGROUP_STORAGE works from Linux 4.19 on; its successor, CGRP_STORAGE, needs Linux 6.2"
)]
use aya::maps::CgroupStorage;
use aya::maps::{Array, CgroupStorageKey, HashMap};
use ebb_abi::{
    Exclusion, MAX_PODS, NO_SLOT, OVERFLOW_TABLES, OverflowOwner, PodCounters, PodRules,
};

use super::{Counter, PodId};
use crate::{
    CounterError, Rules,
    kernel::{Hook, map_error},
};

impl Counter {
    /// Returns a free slot. Slots are used in rotation. A slot is avoided while connections of its previous pod are
    /// open, because the requests of these connections are still counted in the slot. If every free slot has open
    /// connections of its previous pod, the next free slot in rotation is returned.
    pub(super) fn free_slot(&self) -> Result<PodId, CounterError> {
        let slots = MAX_PODS - 1;
        let free = || {
            (0..slots)
                .map(|step| PodId((self.last + step) % slots + 1))
                .filter(|pod| !self.pods.contains_key(pod))
        };
        let quiet = |pod: &PodId| {
            let (opened, closed) = self.counters.connections(pod.0);
            opened == closed
        };
        free()
            .find(quiet)
            .or_else(|| free().next())
            .ok_or(CounterError::Full(slots))
    }

    /// Sets a slot's counters to zero.
    pub(super) fn zero(&mut self, pod: PodId) -> Result<(), CounterError> {
        let mut map: Array<_, PodCounters> = self.kernel.map("PODS")?;
        let mut zero = PodCounters::ZERO;
        zero.slot = u64::from(pod.0);
        // The slot's previous pod may still have pieces in the out-of-order buffer. `pieces` counts these pieces and is
        // not set to zero, because the connections of the previous pod subtract the pieces when they free them.
        zero.pieces = map
            .get(&pod.0, 0)
            .map_err(|source| map_error("PODS", source))?
            .pieces;
        map.set(pod.0, zero, 0)
            .map_err(|source| map_error("PODS", source))
    }

    /// Replaces the counting rules of a pod slot.
    pub(super) fn write_rules(
        &mut self,
        pod: PodId,
        rules: &Rules,
        old: &Rules,
    ) -> Result<(), CounterError> {
        let (kernel_rules, exclusions) = rules.for_kernel(pod.0)?;
        let (_, old) = old.for_kernel(pod.0)?;
        let mut map: HashMap<_, Exclusion, u32> = self.kernel.map("EXCLUSIONS")?;
        for exclusion in &exclusions {
            map.insert(exclusion, 1, 0)
                .map_err(|source| map_error("EXCLUSIONS", source))?;
        }
        for exclusion in old.iter().filter(|old| !exclusions.contains(old)) {
            // An error is ignored, because the entry may already be removed.
            let _ = map.remove(exclusion);
        }
        let mut map: Array<_, PodRules> = self.kernel.map("RULES")?;
        map.set(pod.0, kernel_rules, 0)
            .map_err(|source| map_error("RULES", source))
    }

    /// Removes the excluded paths of a pod slot.
    pub(super) fn remove_exclusions(&mut self, pod: PodId, rules: &Rules) {
        let Ok((_, exclusions)) = rules.for_kernel(pod.0) else {
            return;
        };
        if let Ok(mut map) = self.kernel.map::<HashMap<_, Exclusion, u32>>("EXCLUSIONS") {
            for exclusion in &exclusions {
                // An error is ignored, because the entry may already be removed.
                let _ = map.remove(exclusion);
            }
        }
    }

    /// Reads the counting rules of a pod slot from the kernel.
    pub(super) fn read_rules(&mut self, pod: PodId) -> Result<Rules, CounterError> {
        let map: Array<_, PodRules> = self.kernel.map("RULES")?;
        let rules = map
            .get(&pod.0, 0)
            .map_err(|source| map_error("RULES", source))?;
        let map: HashMap<_, Exclusion, u32> = self.kernel.map("EXCLUSIONS")?;
        let exclusions = map
            .keys()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| map_error("EXCLUSIONS", source))?;
        Ok(Rules::from_kernel(pod.0, &rules, &exclusions))
    }

    /// Assigns a slot to a cgroup. The programs are already attached to the cgroup.
    pub(super) fn assign_slot(&mut self, cgroup: u64, pod: PodId) -> Result<(), CounterError> {
        let mut map: HashMap<_, u64, u32> = self.kernel.map("CGROUPS")?;
        map.insert(cgroup, pod.0, 0)
            .map_err(|source| map_error("CGROUPS", source))?;
        self.write_slot(cgroup, pod.0)
    }

    /// Removes the assignment of a slot, so that the programs ignore the connections of its cgroup.
    pub(super) fn unassign_slot(
        &mut self,
        pod: PodId,
        cgroup: Option<u64>,
    ) -> Result<(), CounterError> {
        let mut map: HashMap<_, u64, u32> = self.kernel.map("CGROUPS")?;
        // All entries with this slot are removed, because the id of a deleted cgroup may be unknown.
        let assigned: Vec<u64> = map
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, slot)| *slot == pod.0)
            .map(|(cgroup, _)| cgroup)
            .collect();
        for cgroup in &assigned {
            // An error is ignored, because the entry may already be removed.
            let _ = map.remove(cgroup);
        }
        // `cgroup` is `None` if the cgroup is deleted. A deleted cgroup has no entry in the cgroup storage map, so
        // nothing is written.
        cgroup.map_or(Ok(()), |cgroup| self.write_slot(cgroup, NO_SLOT))
    }

    /// Frees the overflow tables of the pod's connections. The kernel frees a table when its connection closes, but not
    /// if the pod is no longer counted by then.
    pub(super) fn free_overflow_tables(&mut self, pod: PodId) -> Result<(), CounterError> {
        const NAME: &str = "OVERFLOW_OWNERS";
        let mut map: Array<_, OverflowOwner> = self.kernel.map(NAME)?;
        for index in 0..OVERFLOW_TABLES {
            let owner = map
                .get(&index, 0)
                .map_err(|source| map_error(NAME, source))?;
            if owner.slot == pod.0 {
                let slot = NO_SLOT;
                map.set(index, OverflowOwner { slot, ..owner }, 0)
                    .map_err(|source| map_error(NAME, source))?;
            }
        }
        Ok(())
    }

    fn write_slot(&mut self, cgroup: u64, slot: u32) -> Result<(), CounterError> {
        #[expect(deprecated, reason = "see the import")]
        let mut map: CgroupStorage<_, u64> = self.kernel.map("SLOT")?;
        map.insert(
            CgroupStorageKey::new(cgroup, Hook::SockOps as u32),
            u64::from(slot),
            0,
        )
        .map_err(|source| map_error("SLOT", source))
    }
}
