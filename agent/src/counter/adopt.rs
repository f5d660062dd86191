//! Taking over what an earlier process has left counting.
//!
//! In this order, so that at any moment the process may be killed and the next one finds its way: other
//! layouts go; the maps are opened; this build's programs are loaded and put into the program arrays, then
//! into the links, one by one; then other builds go. Between two of these steps old and new programs run side by
//! side on the same maps, as their layout allows. No packet goes by uncounted, because no link is ever
//! taken off, and none is counted twice, because a link has one program.

use std::os::fd::AsFd as _;

use aya::programs::ProgramError;

use super::{Attached, Counter, PodId};
use crate::{
    CounterError,
    kernel::{ATTACHED, Kernel, Shape, refused},
    pins::{Kept, Pins, has_all},
};

/// What a start with pins has found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Cgroups that were counted on meanwhile, and still are.
    pub adopted: usize,
    /// Links whose program was exchanged for this build's.
    pub exchanged: usize,
    /// Cgroups that are gone, or whose links had been pinned halfway: no longer counted.
    pub dropped: usize,
    /// Other layouts that were there: their cgroups are no longer counted.
    pub layouts: Vec<String>,
    /// Whether the own layout was there halfway, or with maps of other shapes, and was removed.
    pub halfway: bool,
}

impl Counter {
    /// Takes over what is pinned, or begins with nothing; from now on everything is pinned, and goes on
    /// counting when this process ends. Needs what [`Counter::load`] needs.
    ///
    /// # Errors
    /// If the process may not, or the kernel refuses. What was counted before is counted on.
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

    /// Goes on with one cgroup; answers how many of its links have other programs now.
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
        // Done before, unless the process that attached it was killed right then.
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

/// The pinned maps with this build's programs, which are loaded if they are not pinned whole.
fn open_kernel(pins: &Pins, maps: &[Shape]) -> Result<Kernel, CounterError> {
    pins.make()?;
    let mut kernel = Kernel::with_pinned_maps(&pins.maps(), maps)?;
    if has_all(&pins.programs(), kernel.program_names()) {
        kernel.open_programs(&pins.programs())?;
    } else {
        kernel.load_programs()?;
        pins.replace_programs(|directory| kernel.pin_programs(directory))?;
    }
    // Also where nothing was loaded: the process that pinned them may have been killed before it did this.
    kernel.connect_calls()?;
    Ok(kernel)
}
