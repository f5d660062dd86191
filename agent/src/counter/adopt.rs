//! Adopts the counting of an earlier process.
//!
//! If this process is killed at any time, the next process can continue, because of the order of the steps:
//! 1. Other layouts are removed.
//! 2. The maps are opened.
//! 3. This build's programs are loaded and put into the program arrays.
//! 4. The links get this build's programs, one by one.
//! 5. The programs of other builds are removed.
//!
//! Between two steps, old and new programs run side by side on the same maps; both have the same layout. No packet is
//! missed, because no link is ever detached. No packet is counted twice, because a link has exactly one program.

use std::os::fd::AsFd as _;

use aya::programs::ProgramError;

use super::{AttachedCgroup, Counter, PodId};
use crate::{
    CounterError,
    kernel::{ATTACHED, Kernel, Shape, program_error},
    pins::{PinnedSlot, Pins, has_all},
};

/// The result of [`Counter::pinned`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Number of cgroups that were counted while no agent ran, and that this process continues to count.
    pub adopted: usize,
    /// Number of links whose program was replaced: a program of another build by this build's program.
    pub exchanged: usize,
    /// Number of cgroups that are no longer counted, because they are deleted or only some of their links were pinned.
    pub dropped: usize,
    /// Names of the map layouts, other than this build's, whose pins were removed. Cgroups that were counted with these
    /// pins are no longer counted.
    pub layouts: Vec<String>,
    /// True if pins of this build's layout were removed, because some were missing or their maps had other types or
    /// sizes.
    pub halfway: bool,
}

impl Counter {
    /// Adopts the pinned objects. If there are none, begins with zero pods and pins new objects. The counting continues
    /// when this process ends. Requires the same kernel and permissions as [`Counter::load`].
    ///
    /// # Errors
    /// The process lacks the permissions, the kernel rejects a program or map, or the directory of pins cannot be used.
    /// After an error, the counting of an earlier process continues.
    pub fn pinned(pins: Pins) -> Result<(Self, Adoption), CounterError> {
        let mut found = Adoption {
            layouts: pins.remove_other_layouts()?,
            ..Adoption::default()
        };
        for layout in &found.layouts {
            tracing::warn!(%layout, "pins of another map layout removed: counting starts from zero");
        }
        let maps = Shape::all()?;
        let there = pins.maps().exists();
        if there && !maps.iter().all(|map| map.is_in(&pins.maps())) {
            tracing::warn!("incomplete or incompatible pins replaced: counting starts from zero");
            pins.remove_own_layout()?;
            found.halfway = true;
        }
        let fresh = !pins.maps().exists();
        let kernel = open_kernel(&pins, &maps);
        if kernel.is_err()
            && fresh
            && let Err(error) = pins.remove_own_layout()
        {
            tracing::warn!(%error, "the new pins, which are incomplete, could not be removed");
        }
        Self::new(kernel?, Some(pins))?.adopt_all(found)
    }

    fn adopt_all(mut self, mut found: Adoption) -> Result<(Self, Adoption), CounterError> {
        let all_pinned = match &self.pins {
            Some(pins) => pins.pinned_slots()?,
            None => Vec::new(),
        };
        for pinned in all_pinned {
            let pod = PodId(pinned.slot);
            match pinned.cgroup() {
                // A removed cgroup can still be adopted, because the kernel releases its links some time later. No pod
                // has this cgroup, so its counting stops after the first complete list of pods.
                Some(cgroup) => {
                    found.exchanged += self.adopt(pod, cgroup, pinned)?;
                    found.adopted += 1;
                }
                None => {
                    tracing::info!(
                        slot = pod.0,
                        "the cgroup is deleted or only partly attached: no longer counted"
                    );
                    let rules = self.read_rules(pod)?;
                    self.clear(pod, pinned.some_cgroup(), &rules);
                    found.dropped += 1;
                }
            }
        }
        if let Some(pins) = &self.pins {
            for build in pins.remove_other_programs()? {
                tracing::info!(%build, "pinned programs of another build removed");
            }
        }
        tracing::info!(?found, "counting");
        Ok((self, found))
    }

    /// Adopts one cgroup. Returns the number of its links whose program was replaced.
    fn adopt(
        &mut self,
        pod: PodId,
        cgroup: u64,
        pinned: PinnedSlot,
    ) -> Result<usize, CounterError> {
        let mut exchanged = 0;
        for ((link, info), (name, _)) in pinned.links.iter().zip(ATTACHED) {
            if info.program != self.kernel.program_id(name)? {
                link.replace(self.kernel.program(name)?.as_fd())
                    .map_err(|error| program_error(name, ProgramError::IOError(error)))?;
                exchanged += 1;
            }
        }
        let rules = self.read_rules(pod)?;
        // Usually the pod slot is already assigned to the cgroup. The assignment is missing if the process that
        // attached the programs was killed before it assigned the slot.
        self.assign_slot(cgroup, pod)?;
        self.pods.insert(
            pod,
            AttachedCgroup {
                cgroup,
                rules,
                since: pinned.since,
                _links: pinned.links.into_iter().map(|(link, _)| link).collect(),
            },
        );
        Ok(exchanged)
    }
}

/// Opens the pinned maps and this build's programs. If not all required programs are pinned, loads and pins them.
fn open_kernel(pins: &Pins, maps: &[Shape]) -> Result<Kernel, CounterError> {
    pins.make()?;
    let mut kernel = Kernel::with_pinned_maps(&pins.maps(), maps)?;
    if has_all(&pins.programs(), kernel.program_names()) {
        kernel.open_programs(&pins.programs())?;
    } else {
        kernel.load_programs()?;
        pins.replace_programs(|directory| kernel.pin_programs(directory))?;
    }
    // The program arrays are filled even if all programs were pinned: the process that pinned the programs may have
    // been killed before it filled the arrays.
    kernel.connect_calls()?;
    Ok(kernel)
}
