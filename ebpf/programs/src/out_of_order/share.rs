//! The share of a pod in the node's out-of-order buffer: the number of pieces that the pod may hold, and the number
//! that it holds now.
//!
//! The counters change by atomic adds. A program reads the counters before it takes a piece. So several CPUs that read
//! the counters at once may each take one piece beyond the share. The next check counts these few pieces.

use ebb_abi::NO_SLOT;
use ebb_parser::out_of_order::share_has_room;

use crate::{
    maps::PODS,
    meter::{Pod, add},
};

/// Counters of pieces in the out-of-order buffer: those of one pod, and those of all pods of the node.
pub struct Share {
    own: *mut u64,
    all: *mut u64,
}

impl Share {
    /// Returns the counters of a pod.
    #[inline(always)]
    pub fn of(pod: &Pod) -> Option<Self> {
        // The counter in the slot `NO_SLOT` is that of all pods together, because no pod has this slot.
        let all = PODS.get_ptr_mut(NO_SLOT)?;
        Some(Self {
            own: pod.pieces(),
            // SAFETY: the pointer is to a field of a map value.
            all: unsafe { &raw mut (*all).pieces },
        })
    }

    /// Returns whether the pod may take one more piece.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        // SAFETY: the pointers are to fields of map values, which other CPUs change at the same time.
        unsafe { share_has_room(self.own.read_volatile(), self.all.read_volatile()) }
    }

    /// Counts one more piece that the pod holds.
    #[inline(always)]
    pub fn take(&self) {
        add(self.own, 1);
        add(self.all, 1);
    }

    /// Counts one piece less that the pod holds.
    #[inline(always)]
    pub fn give_back(&self) {
        add(self.own, 1u64.wrapping_neg());
        add(self.all, 1u64.wrapping_neg());
    }
}
