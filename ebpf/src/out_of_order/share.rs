//! The share of a pod in the node's out-of-order buffer: how many pieces it may have, and how many it has.
//!
//! The counts are atomic adds, and are looked at before a piece is taken. So CPUs that look at once may take a piece each
//! beyond the share: a few, which the next look sees.

use ebb_common::{abi::NO_SLOT, out_of_order::share_has_room};

use crate::{
    maps::PODS,
    meter::{Pod, add},
};

/// The two counts: of one pod, and of all pods of the node.
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
        // SAFETY: fields of values of the map, which others change meanwhile.
        unsafe { share_has_room(self.own.read_volatile(), self.all.read_volatile()) }
    }

    /// A piece has been taken.
    #[inline(always)]
    pub fn take(&self) {
        add(self.own, 1);
        add(self.all, 1);
    }

    /// A piece has been freed.
    #[inline(always)]
    pub fn give_back(&self) {
        add(self.own, 1u64.wrapping_neg());
        add(self.all, 1u64.wrapping_neg());
    }
}
