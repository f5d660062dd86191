//! The pinned links of each counted cgroup. The name of their directory contains the slot and the start of the
//! counting, because neither links nor maps store the start.

use std::time::Duration;

use super::{Pins, PinsError, names, remove::remove};
use crate::kernel::{ATTACHED, Link, LinkInfo};

/// A cgroup whose counting continued while no process ran.
#[derive(Debug)]
pub(crate) struct PinnedSlot {
    /// The slot of the cgroup.
    pub(crate) slot: u32,
    /// Start of the counting (`CLOCK_MONOTONIC`). A reboot restarts this clock, but it also removes the pins.
    pub(crate) since: Duration,
    /// The links, in the order of [`ATTACHED`], with the kernel's information about each.
    pub(crate) links: Vec<(Link, LinkInfo)>,
}

impl PinnedSlot {
    /// Returns the inode of the cgroup if all links exist and are on this cgroup.
    pub(crate) fn cgroup(&self) -> Option<u64> {
        let cgroup = self.links.first()?.1.cgroup;
        let whole = self.links.len() == ATTACHED.len()
            && self
                .links
                .iter()
                .zip(ATTACHED)
                .all(|((_, info), (_, hook))| info.is_on(hook) && info.cgroup == cgroup);
        whole.then_some(cgroup)
    }

    /// Returns the inode of the cgroup that the links are attached to. Links to a deleted cgroup are skipped.
    pub(crate) fn some_cgroup(&self) -> Option<u64> {
        self.links
            .iter()
            .map(|(_, info)| info.cgroup)
            .find(|cgroup| *cgroup != 0)
    }
}

impl Pins {
    /// Pins the BPF links of the cgroup in a slot. The links must be in the order of [`ATTACHED`].
    pub(crate) fn pin_slot(
        &self,
        slot: u32,
        since: Duration,
        links: &[Link],
    ) -> Result<(), PinsError> {
        // Removes an old directory of this slot: a process may have been killed while it removed the slot.
        self.unpin_slot(slot)?;
        let directory = self.all_pods().join(name(slot, since));
        std::fs::create_dir(&directory).map_err(PinsError::io("make", &directory))?;
        for (link, (name, _)) in links.iter().zip(ATTACHED) {
            let path = directory.join(name);
            link.pin(&path).map_err(PinsError::io("pin", &path))?;
        }
        Ok(())
    }

    /// Unpins the links of a slot.
    pub(crate) fn unpin_slot(&self, slot: u32) -> Result<(), PinsError> {
        names(&self.all_pods())?
            .iter()
            .filter(|name| parse(name).is_some_and(|(of, _)| of == slot))
            .try_for_each(|name| remove(&self.all_pods().join(name)))
    }

    /// Returns all slots with pinned links, even slots with missing links. Removes directory entries that
    /// do not belong to a slot.
    pub(crate) fn pinned_slots(&self) -> Result<Vec<PinnedSlot>, PinsError> {
        let mut all = Vec::new();
        for name in names(&self.all_pods())? {
            let directory = self.all_pods().join(&name);
            let Some((slot, since)) = parse(&name) else {
                remove(&directory)?;
                continue;
            };
            let links = ATTACHED.iter().filter_map(|(name, _)| {
                let link = Link::open(&directory.join(name)).ok()?;
                let info = link.info().ok()?;
                Some((link, info))
            });
            all.push(PinnedSlot {
                slot,
                since,
                links: links.collect(),
            });
        }
        all.sort_by_key(|pinned| pinned.slot);
        Ok(all)
    }
}

fn name(slot: u32, since: Duration) -> String {
    format!("{slot}-{}", since.as_nanos())
}

fn parse(name: &str) -> Option<(u32, Duration)> {
    let (slot, since) = name.split_once('-')?;
    Some((
        slot.parse().ok()?,
        Duration::from_nanos(since.parse().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_was_put_into_it() {
        let since = Duration::new(86_400, 7);
        assert_eq!(name(17, since), "17-86400000000007");
        assert_eq!(parse(&name(17, since)), Some((17, since)));
        for other in ["17", "17-", "-5", "x-5", "17-5-5"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
