//! The shape of a map: its type and sizes. A pinned map is used only if its shape matches.
//!
//! The layout number states compatibility, but depends on developers who remember to change it. The shapes are checked
//! as well: with a map of another shape, a program would change the wrong counters or would not load.

use std::path::Path;

use aya::maps::MapInfo;

use super::object::OBJECT;
use crate::CounterError;

/// `BPF_MAP_TYPE_RINGBUF`. The kernel rounds the size of a ring buffer to pages, so its size is not compared.
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
    /// Returns the shapes of the maps that can be pinned. Maps whose names begin with a dot are excluded: they hold the
    /// constants of one build of the programs, not counters.
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

    /// Returns whether a map of this name and shape is pinned in a directory.
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
        assert_eq!(pods.entries, ebb_abi::MAX_PODS);
        let size = size_of::<ebb_abi::PodCounters>();
        assert_eq!(pods.value as usize, size);
    }
}
