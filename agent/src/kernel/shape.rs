//! The shape of a map: what must agree before a pinned one is used.
//!
//! A layout's number says that all agrees, and it is for people to change it. That the shapes agree is seen to all the
//! same: a program on a map of another shape would count into the wrong places, or not load.

use std::path::Path;

use aya::maps::MapInfo;

use super::object::OBJECT;
use crate::CounterError;

/// `BPF_MAP_TYPE_RINGBUF`: its size is rounded to pages when it is made.
const RING_BUFFER: u32 = 27;

/// A map's name, type and sizes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
}

impl Shape {
    /// Those of the maps that can be pinned. A section of constants, whose name begins with a dot, is part of a build
    /// of the programs and not of what they count.
    pub(crate) fn all() -> Result<Vec<Self>, CounterError> {
        let object = aya_obj::Object::parse(OBJECT)
            .map_err(|error| CounterError::Load(Box::new(error.into())))?;
        let mut all: Vec<_> = object
            .maps
            .into_iter()
            .filter(|(name, _)| !name.starts_with('.'))
            .map(|(name, map)| Self {
                name,
                kind: map.map_type(),
                key: map.key_size(),
                value: map.value_size(),
                entries: map.max_entries(),
            })
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// Whether a map of this name and shape is pinned in a directory.
    pub(crate) fn is_in(&self, directory: &Path) -> bool {
        let Ok(info) = MapInfo::from_pin(directory.join(&self.name)) else {
            return false;
        };
        let kind = info.map_type().map(|kind| kind as u32);
        let sizes = (info.key_size(), info.value_size(), info.max_entries());
        kind.ok() == Some(self.kind)
            && (self.kind == RING_BUFFER || sizes == (self.key, self.value, self.entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_among_them() {
        let all = Shape::all().unwrap();
        let pods = all.iter().find(|shape| shape.name == "PODS").unwrap();
        assert_eq!(pods.entries, ebb_common::abi::MAX_PODS);
        let size = size_of::<ebb_common::abi::PodCounters>();
        assert_eq!(pods.value as usize, size);
    }
}
