//! The workloads that Ebb scaled to zero, and whether a request can still wake each of these workloads.
//!
//! Before Ebb scales a workload to zero, Ebb sets the annotation `ebb.dev/scaled-to-zero` on the workload's
//! EndpointSlice. A replica of the autoscaler that starts later reads this annotation. A workload that a person scaled
//! to zero never gets the annotation, and stays at zero.
//!
//! Bias: towards a running pod, even if no request needs the pod. A workload is cut off if Ebb scaled the workload to
//! zero and its request path through the activators has not been confirmed for 10 s (`CUT_OFF_AFTER`). A workload that
//! is cut off gets a pod, whatever the cause is.

use std::time::Duration;

use ebb_autoscaler_core::{Timestamp, annotations::Mode};

use super::service_routing::{ServiceRouting, SliceInputs};
use crate::workload_state::WorkloadState;

/// Time after which a workload at zero counts as cut off, if it is not confirmed that its requests reach an activator.
/// If one of two activators fails, the path is confirmed again within 8.5 s: 3.5 s until the report of the activator is
/// stale, 2 s until the next decision, and 3 s for a write to the API server.
const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

impl ServiceRouting {
    /// Processes the last decision for a workload. If the EndpointSlices of the workload may change, its Services are
    /// scheduled to be checked.
    pub(crate) fn apply_decision(&mut self, now: Timestamp, entry: &WorkloadState) {
        let slice_inputs = SliceInputs {
            activators: entry.activators,
            refused: entry.refusal.as_ref().map(|refusal| refusal.reason),
            mode: entry.mode,
            hard_limit: entry.hard_limit(),
            at_zero: entry.replicas() == 0,
            wants_zero: entry.wants_zero(),
        };
        if self.slice_inputs.insert(entry.id, slice_inputs) != Some(slice_inputs) {
            self.schedule_checks_of(entry);
        }
        if !slice_inputs.at_zero {
            self.at_zero.remove(&entry.id);
        } else if self.is_annotated_by_ebb(entry) {
            let zero = self.at_zero.entry(entry.id).or_default();
            zero.broken_since = match entry.path_confirmed_since {
                Some(_) => None,
                None => Some(zero.broken_since.unwrap_or(now)),
            };
        } else if let Some(zero) = self.at_zero.get_mut(&entry.id) {
            // The EndpointSlice with the annotation `ebb.dev/scaled-to-zero` has been removed, so the request path
            // through the activators counts as not confirmed.
            zero.broken_since = zero.broken_since.or(Some(now));
        }
    }

    /// Returns whether the workload is cut off: Ebb scaled the workload to zero, and no request can wake it, so that it
    /// needs a pod. Returns `false` until this replica has received reports of activators for [`CUT_OFF_AFTER`].
    #[must_use]
    pub(crate) fn is_cut_off(&self, entry: &WorkloadState, now: Timestamp) -> bool {
        let zero = self.at_zero.get(&entry.id);
        let since = zero.and_then(|zero| zero.broken_since);
        entry.replicas() == 0
            && since.is_some_and(|since| {
                now.since(since).min(self.listening.lasted(now)) >= CUT_OFF_AFTER
            })
    }

    /// Returns whether every EndpointSlice of a workload in the API server has the annotation `ebb.dev/scaled-to-zero`.
    pub(crate) fn is_annotated(&self, entry: &WorkloadState) -> bool {
        let names = self.names(entry);
        !names.is_empty()
            && names.iter().all(|name| {
                let route = self.routes.get(name);
                let confirmed = route.and_then(|route| route.confirmed());
                confirmed.is_some_and(|written| written.scaled_to_zero)
            })
    }

    /// Returns whether Ebb scaled a workload to zero: this replica created the scale order, or an EndpointSlice has the
    /// annotation `ebb.dev/scaled-to-zero`.
    pub(crate) fn is_ours_at_zero(&self, entry: &WorkloadState) -> bool {
        self.at_zero.contains_key(&entry.id) || entry.replicas() == 0 && entry.was_scaled_to_zero()
    }

    /// Returns whether an EndpointSlice has the annotation `ebb.dev/scaled-to-zero`, and no person scaled the workload
    /// to zero before Ebb did.
    fn is_annotated_by_ebb(&self, entry: &WorkloadState) -> bool {
        self.names(entry).iter().any(|name| {
            self.routes.get(name).is_some_and(|route| {
                let confirmed = route.confirmed();
                confirmed.is_some_and(|written| {
                    has_zero_annotation(entry, written.scaled_to_zero, route.annotated)
                })
            })
        })
    }
}

/// Returns whether the EndpointSlice of a workload is to have the annotation `ebb.dev/scaled-to-zero`. `annotated`:
/// whether the EndpointSlice has the annotation now. `set_here`: whether this process set the annotation (see
/// [`super::route::Route::annotated`]).
pub(super) fn has_zero_annotation(entry: &WorkloadState, annotated: bool, set_here: bool) -> bool {
    match entry.replicas() {
        // If this process set the annotation but did not scale the workload to zero, a person did so first. The
        // annotation must then be removed.
        0 => annotated && (!set_here || entry.was_scaled_to_zero()),
        _ => entry.wants_zero(),
    }
}

impl WorkloadState {
    /// Returns whether Ebb is about to scale the workload to zero.
    fn wants_zero(&self) -> bool {
        let last = self.last.as_ref();
        let want = last.and_then(|last| last.decision.step.want);
        self.mode == Mode::Act
            && self.refusal.is_none()
            && self.can_be_queued
            && self.replicas() > 0
            && want == Some(0)
    }

    /// Returns whether the last scale order of this replica requested zero replicas.
    fn was_scaled_to_zero(&self) -> bool {
        let written = self.written.as_ref();
        self.ordered == Some(0) || written.is_some_and(|written| written.order.to == 0)
    }
}
