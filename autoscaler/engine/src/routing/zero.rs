//! Which workloads Ebb has scaled to zero, and whether a request can still wake them.
//!
//! The slice says so (`ebb.dev/scaled-to-zero`) before the order to zero is given, so that a replica that starts later
//! knows it too. A workload that a person scaled to zero is never marked, and stays at zero.
//!
//! Bias: towards a pod. A workload is cut off if Ebb scaled it to zero and its path through the activators has not been
//! confirmed for a bounded time. It then gets a pod, whatever has happened to the path.

use std::time::Duration;

use ebb_autoscaler_core::{Timestamp, annotations::Mode};

use super::service_routing::{ServiceRouting, SliceInputs};
use crate::entry::WorkloadState;

/// A workload is cut off when its path has not been confirmed for this long. An activator's report is stale after 3.5
/// s, a decision follows within 2 s, and a write to the API server may take 3 s. So a path that loses one of two
/// activators is confirmed again before that.
const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

impl ServiceRouting {
    /// Takes in the last decision of a workload, and marks its Services if their slices depend on a change.
    pub(crate) fn follow(&mut self, now: Timestamp, entry: &WorkloadState) {
        let slice_inputs = SliceInputs {
            proxy: entry.proxy,
            refused: entry.refusal.as_ref().map(|refusal| refusal.reason),
            mode: entry.mode,
            hard_limit: entry.hard_limit(),
            at_zero: entry.replicas() == 0,
            wants_zero: entry.wants_zero(),
        };
        if self.slice_inputs.insert(entry.id, slice_inputs) != Some(slice_inputs) {
            self.mark_workload(entry);
        }
        if !slice_inputs.at_zero {
            self.at_zero.remove(&entry.id);
        } else if self.is_said_to_be_at_zero(entry) {
            let zero = self.at_zero.entry(entry.id).or_default();
            zero.broken_since = match entry.path_confirmed_since {
                Some(_) => None,
                None => Some(zero.broken_since.unwrap_or(now)),
            };
        } else if let Some(zero) = self.at_zero.get_mut(&entry.id) {
            // The slice that identified it is gone.
            zero.broken_since = zero.broken_since.or(Some(now));
        }
    }

    /// Returns whether Ebb scaled the workload to zero and no request can wake it, so that it needs a pod. `false`
    /// while this replica has not listened to the activators for long enough to tell.
    #[must_use]
    pub(crate) fn is_cut_off(&self, entry: &WorkloadState, now: Timestamp) -> bool {
        let zero = self.at_zero.get(&entry.id);
        let since = zero.and_then(|zero| zero.broken_since);
        entry.replicas() == 0
            && since.is_some_and(|since| {
                now.since(since).min(self.listening.lasted(now)) >= CUT_OFF_AFTER
            })
    }

    /// Returns whether every slice of a workload says that Ebb scales it to zero, as the API server has the slices.
    pub(crate) fn is_marked(&self, entry: &WorkloadState) -> bool {
        let names = self.names(entry);
        !names.is_empty()
            && names.iter().all(|name| {
                let route = self.routes.get(name);
                let confirmed = route.and_then(|route| route.confirmed());
                confirmed.is_some_and(|written| written.scaled_to_zero)
            })
    }

    /// Returns whether Ebb scaled a workload to zero, as far as this replica knows: by its own order, or from the
    /// slice.
    pub(crate) fn is_ours_at_zero(&self, entry: &WorkloadState) -> bool {
        self.at_zero.contains_key(&entry.id) || entry.replicas() == 0 && entry.was_scaled_to_zero()
    }

    /// Returns whether a slice says that Ebb scaled a workload to zero, and no person did so first.
    fn is_said_to_be_at_zero(&self, entry: &WorkloadState) -> bool {
        self.names(entry).iter().any(|name| {
            self.routes.get(name).is_some_and(|route| {
                let confirmed = route.confirmed();
                confirmed.is_some_and(|written| mark(entry, written.scaled_to_zero, route.marks))
            })
        })
    }
}

/// Returns whether the slice of a workload is to say that Ebb scaled it to zero. `marked`: whether it says so now;
/// `marks`: see [`super::route::Route::marks`].
pub(super) fn mark(entry: &WorkloadState, marked: bool, marks: bool) -> bool {
    match entry.replicas() {
        // If the mark is this process's own and its order was not given, a person scaled the workload to zero first.
        0 => marked && (!marks || entry.was_scaled_to_zero()),
        _ => entry.wants_zero(),
    }
}

impl WorkloadState {
    /// Returns whether the next step would scale it to zero.
    fn wants_zero(&self) -> bool {
        let last = self.last.as_ref();
        let want = last.and_then(|last| last.decision.step.want);
        self.mode == Mode::Act
            && self.refusal.is_none()
            && self.can_be_queued
            && self.replicas() > 0
            && want == Some(0)
    }

    /// Returns whether the last order of this replica was an order to zero.
    fn was_scaled_to_zero(&self) -> bool {
        let written = self.written.as_ref();
        self.ordered == Some(0) || written.is_some_and(|written| written.order.to == 0)
    }
}
