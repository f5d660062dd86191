//! The links of each counted cgroup, in a directory named by its slot and by when its counting began: the
//! one thing that neither links nor maps tell.

use std::time::Duration;

use super::{Pins, PinsError, names, remove::remove};
use crate::kernel::{ATTACHED, About, Link};

/// A cgroup that was counted on while no process looked.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its slot.
    pub(crate) slot: u32,
    /// When its counting began: `CLOCK_MONOTONIC`, which goes no further back than any pin.
    pub(crate) since: Duration,
    /// Its links, in the order of [`ATTACHED`], with what the kernel says of each.
    pub(crate) links: Vec<(Link, About)>,
}

impl Kept {
    /// The inode of its cgroup, if all of its links are there and on that one.
    pub(crate) fn cgroup(&self) -> Option<u64> {
        let cgroup = self.links.first()?.1.cgroup;
        let whole = self.links.len() == ATTACHED.len()
            && self
                .links
                .iter()
                .zip(ATTACHED)
                .all(|((_, about), (_, hook))| about.is_on(hook) && about.cgroup == cgroup);
        whole.then_some(cgroup)
    }

    /// The inode of the cgroup that any of its links is still on.
    pub(crate) fn some_cgroup(&self) -> Option<u64> {
        self.links
            .iter()
            .map(|(_, about)| about.cgroup)
            .find(|cgroup| *cgroup != 0)
    }
}

impl Pins {
    /// Pins the links of a slot, which are in the order of [`ATTACHED`].
    pub(crate) fn keep(&self, slot: u32, since: Duration, links: &[Link]) -> Result<(), PinsError> {
        // Whatever is there is of a process that did not get to the end of removing it.
        self.forget(slot)?;
        let directory = self.all_pods().join(name(slot, since));
        std::fs::create_dir(&directory).map_err(PinsError::io("make", &directory))?;
        for (link, (name, _)) in links.iter().zip(ATTACHED) {
            let path = directory.join(name);
            link.pin(&path).map_err(PinsError::io("pin", &path))?;
        }
        Ok(())
    }

    /// Unpins the links of a slot.
    pub(crate) fn forget(&self, slot: u32) -> Result<(), PinsError> {
        names(&self.all_pods())?
            .iter()
            .filter(|name| parse(name).is_some_and(|(of, _)| of == slot))
            .try_for_each(|name| remove(&self.all_pods().join(name)))
    }

    /// What is pinned, whole or not. What is no slot's directory is removed.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>, PinsError> {
        let mut all = Vec::new();
        for name in names(&self.all_pods())? {
            let directory = self.all_pods().join(&name);
            let Some((slot, since)) = parse(&name) else {
                remove(&directory)?;
                continue;
            };
            let links = ATTACHED.iter().filter_map(|(name, _)| {
                let link = Link::open(&directory.join(name)).ok()?;
                let about = link.about().ok()?;
                Some((link, about))
            });
            all.push(Kept {
                slot,
                since,
                links: links.collect(),
            });
        }
        all.sort_by_key(|kept| kept.slot);
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
