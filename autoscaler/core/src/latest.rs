//! The result of the latest decision, and whether this result differs from the previous result.

use crate::{capacity, settings::Settings};

/// The result of the latest decision. It corresponds to Knative's `DeciderStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Pods that the load needs; `None` before the first decision (Knative writes -1).
    pub desired: Option<u32>,
    /// Excess burst capacity.
    pub excess_burst_capacity: i32,
}

impl Latest {
    /// Returns the result that applies before the first decision.
    pub fn new(settings: &Settings) -> Self {
        Self {
            desired: None,
            excess_burst_capacity: capacity::initial_excess(settings),
        }
    }

    /// Returns whether observers must be notified: the number of pods changed, or the activator enters or leaves the
    /// request path.
    pub fn differs_from(&self, before: &Self) -> bool {
        self.desired != before.desired
            || !same_sign(self.excess_burst_capacity, before.excess_burst_capacity)
    }
}

/// Returns whether two values of the excess burst capacity have the same effect on the request path. If the value is
/// below zero, the activator is in the path; otherwise it is not.
pub const fn same_sign(a: i32, b: i32) -> bool {
    a.is_negative() == b.is_negative()
}
