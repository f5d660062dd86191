//! The latest figure, and whether anybody needs to hear of it.

use crate::{capacity, settings::Settings};

/// What the latest decision came to. Knative's `DeciderStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Pods the load calls for; `None` before the first decision (Knative writes -1).
    pub desired: Option<u32>,
    /// Room beyond load and reserve.
    pub excess_burst_capacity: i32,
}

impl Latest {
    /// Before the first decision.
    pub fn new(settings: &Settings) -> Self {
        Self {
            desired: None,
            excess_burst_capacity: capacity::initial_excess(settings),
        }
    }

    /// True when watchers must be told: another number of pods, or the activator changes sides.
    pub fn differs_from(&self, before: &Self) -> bool {
        self.desired != before.desired
            || !same_sign(self.excess_burst_capacity, before.excess_burst_capacity)
    }
}

/// Whether both call for the same side of the activator. Zero is on the side of the positive.
pub const fn same_sign(a: i32, b: i32) -> bool {
    a.is_negative() == b.is_negative()
}
