//! Adopts the counting of an earlier process.
//!
//! The order of the steps lets the next process continue wherever this one is killed. Other layouts are removed. The
//! maps are opened. This build's programs are loaded and put into the program arrays, then into the links, one by one.
//! Then other builds are removed. Between two steps old and new programs run side by side on the same maps, as their
//! common layout allows. No packet is missed, because no link is ever detached, and none is counted twice, because a
//! link has one program.

use std::os::fd::AsFd as _;

use aya::programs::ProgramError;

use super::{Attached, Counter, PodId};
use crate::{
    CounterError,
    kernel::{ATTACHED, Kernel, Shape, refused},
    pins::{Kept, Pins, has_all},
};

/// The result of a start with pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Cgroups whose counting continued meanwhile and still continues.
    pub adopted: usize,
    /// Links whose program was replaced by this build's.
    pub exchanged: usize,
    /// Cgroups that are deleted, or whose links were only partly pinned: no longer counted.
    pub dropped: usize,
    /// Other layouts that were removed: their cgroups are no longer counted.
    pub layouts: Vec<String>,
    /// True if this build's layout was incomplete, or had maps of other shapes, and was removed.
    pub halfway: bool,
}

impl Counter {
    /// Adopts what is pinned, or begins empty. From now on everything is pinned, and counting continues when this
    /// process ends. Needs the same as [`Counter::load`].
    ///
    /// # Errors
    /// The process lacks the permissions, or the kernel refuses. The counting of an earlier process continues.
    pub fn pinned(pins: Pins) -> Result<(Self, Adoption), CounterError> {
        let mut found = Adoption {
            layouts: pins.remove_other_layouts()?,
            ..Adoption::default()
        };
        for layout in &found.layouts {
            tracing::warn!(%layout, "pins of another layout replaced: counting begins anew");
        }
        let maps = Shape::all()?;
        let there = pins.maps().exists();
        if there && !maps.iter().all(|map| map.is_in(&pins.maps())) {
            tracing::warn!(
                "pins written halfway, or with other maps, replaced: counting begins anew"
            );
            pins.remove_own_layout()?;
            found.halfway = true;
        }
        let fresh = !pins.maps().exists();
        let kernel = open_kernel(&pins, &maps);
        if kernel.is_err()
            && fresh
            && let Err(error) = pins.remove_own_layout()
        {
            tracing::warn!(%error, "pins left behind");
        }
        Self::new(kernel?, Some(pins))?.adopt_all(found)
    }

    fn adopt_all(mut self, mut found: Adoption) -> Result<(Self, Adoption), CounterError> {
        let kept = match &self.pins {
            Some(pins) => pins.kept()?,
            None => Vec::new(),
        };
        for kept in kept {
            let pod = PodId(kept.slot);
            match kept.cgroup() {
                // The kernel releases the links of a removed cgroup some time later. Such a cgroup may still be adopted. No
                // pod has it, so its counting stops after the first complete list of pods.
                Some(cgroup) => {
                    found.exchanged += self.adopt(pod, cgroup, kept)?;
                    found.adopted += 1;
                }
                None => {
                    tracing::info!(slot = pod.0, "cgroup gone, or attached halfway: let go");
                    let rules = self.read_rules(pod)?;
                    self.clear(pod, kept.some_cgroup(), &rules);
                    found.dropped += 1;
                }
            }
        }
        if let Some(pins) = &self.pins {
            for build in pins.remove_other_programs()? {
                tracing::info!(%build, "programs of another build replaced");
            }
        }
        tracing::info!(?found, "counting");
        Ok((self, found))
    }

    /// Adopts one cgroup. Returns how many of its links got another program.
    fn adopt(&mut self, pod: PodId, cgroup: u64, kept: Kept) -> Result<usize, CounterError> {
        let mut exchanged = 0;
        for ((link, about), (name, _)) in kept.links.iter().zip(ATTACHED) {
            if about.program != self.kernel.program_id(name)? {
                link.replace(self.kernel.program(name)?.as_fd())
                    .map_err(|error| refused(name, ProgramError::IOError(error)))?;
                exchanged += 1;
            }
        }
        let rules = self.read_rules(pod)?;
        // Usually already written; missing if the process that attached the cgroup was killed just before it.
        self.name_slot(cgroup, pod)?;
        self.pods.insert(
            pod,
            Attached {
                cgroup,
                rules,
                since: kept.since,
                _links: kept.links.into_iter().map(|(link, _)| link).collect(),
            },
        );
        Ok(exchanged)
    }
}

/// Opens the pinned maps with this build's programs, which are loaded unless all of them are pinned.
fn open_kernel(pins: &Pins, maps: &[Shape]) -> Result<Kernel, CounterError> {
    pins.make()?;
    let mut kernel = Kernel::with_pinned_maps(&pins.maps(), maps)?;
    if has_all(&pins.programs(), kernel.program_names()) {
        kernel.open_programs(&pins.programs())?;
    } else {
        kernel.load_programs()?;
        pins.replace_programs(|directory| kernel.pin_programs(directory))?;
    }
    // Also done if no program was loaded: the process that pinned them may have been killed before this step.
    kernel.connect_calls()?;
    Ok(kernel)
}
