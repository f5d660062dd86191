//! The share of a pod in the node's out-of-order buffer: how many pieces the pod may have, and how many it has.
//!
//! The counts are atomic adds, and are read before a piece is taken. So CPUs that read them at once may each take one piece more
//! than the share: a few pieces, which the next check counts.

use ebb_abi::NO_SLOT;
use ebb_parser::out_of_order::share_has_room;

use crate::{
    maps::PODS,
    meter::{Pod, add},
};

/// The number of pieces of one pod, and of all pods of the node.
pub struct Share {
    own: *mut u64,
    all: *mut u64,
}

impl Share {
    /// The counts of a pod.
    #[inline(always)]
    pub fn of(pod: &Pod) -> Option<Self> {
        // No pod has this slot, so its count is that of all pods.
        let all = PODS.get_ptr_mut(NO_SLOT)?;
        Some(Self {
            own: pod.kept(),
            // SAFETY: a field of a value of the map.
            all: unsafe { &raw mut (*all).kept },
        })
    }

    /// Whether the pod may have one more piece.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        // SAFETY: fields of values of the map, which other CPUs change at the same time.
        unsafe { share_has_room(self.own.read_volatile(), self.all.read_volatile()) }
    }

    /// Counts a piece that has been taken.
    #[inline(always)]
    pub fn take(&self) {
        add(self.own, 1);
        add(self.all, 1);
    }

    /// Counts a piece that has been freed.
    #[inline(always)]
    pub fn give_back(&self) {
        add(self.own, 1u64.wrapping_neg());
        add(self.all, 1u64.wrapping_neg());
    }
}
