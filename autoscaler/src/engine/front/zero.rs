//! Which workloads Ebb has scaled to zero, and whether a request can still wake them.
//!
//! The slice says it (`ebb.dev/scaled-to-zero`) before the order to zero is given, so that a replica that starts later
//! knows it too. A workload that a person scaled to zero is never marked, and stays at zero.
//!
//! Bias: towards a pod. A workload that Ebb scaled to zero, and whose path through the activators has not been in place for
//! a bounded time, is cut off: it needs a pod, whatever has happened to the path.

use std::time::Duration;

use ebb_autoscaler_core::{Timestamp, annotations::Mode};

use super::Fronts;
use crate::engine::entry::Entry;

/// A path that has not been in place for this long is cut off. An activator counts as silent after 3.5 s, a decision comes
/// within 2 s, and a write to the API server may take 3 s: a path that one of two activators leaves is in place again
/// before that.
const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

/// A workload at zero, brought there by Ebb.
#[derive(Debug, Default)]
pub(super) struct Zero {
    /// Since when its path has not been in place.
    broken_since: Option<Timestamp>,
}

/// What slices depend on at a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asks {
    proxy: Option<(bool, u32)>,
    refused: Option<&'static str>,
    mode: Mode,
    hard_limit: u32,
    at_zero: bool,
    wants_zero: bool,
}

impl Fronts {
    /// Takes in what was decided for a workload; slices follow it.
    pub(in crate::engine) fn follow(&mut self, now: Timestamp, entry: &Entry) {
        let asks = Asks {
            proxy: entry.proxy,
            refused: entry.refusal.as_ref().map(|refusal| refusal.reason),
            mode: entry.mode,
            hard_limit: entry.hard_limit(),
            at_zero: entry.replicas() == 0,
            wants_zero: entry.wants_zero(),
        };
        if self.asks.insert(entry.id, asks) != Some(asks) {
            self.mark_workload(entry);
        }
        if !asks.at_zero {
            self.zeros.remove(&entry.id);
        } else if self.is_said_to_be_at_zero(entry) {
            let zero = self.zeros.entry(entry.id).or_default();
            zero.broken_since = match entry.in_place_since {
                Some(_) => None,
                None => Some(zero.broken_since.unwrap_or(now)),
            };
        } else if let Some(zero) = self.zeros.get_mut(&entry.id) {
            // Its slice is gone, by which it was known.
            zero.broken_since = zero.broken_since.or(Some(now));
        }
    }

    /// Whether Ebb scaled the workload to zero and no request can wake it: it needs a pod. `false` while this replica has
    /// not been listening for long enough to tell.
    #[must_use]
    pub(in crate::engine) fn is_cut_off(&self, entry: &Entry, now: Timestamp) -> bool {
        let zero = self.zeros.get(&entry.id);
        let since = zero.and_then(|zero| zero.broken_since);
        entry.replicas() == 0
            && since.is_some_and(|since| {
                now.since(since).min(self.listening.lasted(now)) >= CUT_OFF_AFTER
            })
    }

    /// Whether every slice of a workload says that Ebb scales it to zero, as the API server has it.
    pub(in crate::engine) fn is_marked(&self, entry: &Entry) -> bool {
        let names = self.names(entry);
        !names.is_empty()
            && names.iter().all(|name| {
                let route = self.routes.get(name);
                let confirmed = route.and_then(|route| route.confirmed());
                confirmed.is_some_and(|written| written.scaled_to_zero)
            })
    }

    /// Whether Ebb scaled a workload to zero, as far as this replica knows: by its own order, or by what the slice says.
    pub(in crate::engine) fn is_ours_at_zero(&self, entry: &Entry) -> bool {
        self.zeros.contains_key(&entry.id) || entry.replicas() == 0 && entry.was_scaled_to_zero()
    }

    /// Whether a slice says that Ebb scaled a workload to zero, and it was not a person who did so first.
    fn is_said_to_be_at_zero(&self, entry: &Entry) -> bool {
        self.names(entry).iter().any(|name| {
            self.routes.get(name).is_some_and(|route| {
                let confirmed = route.confirmed();
                confirmed.is_some_and(|written| mark(entry, written.scaled_to_zero, route.marks))
            })
        })
    }
}

/// What a slice is to say of a workload; `marked`: what it says now, `marks`: see [`super::route::Route::marks`].
pub(super) fn mark(entry: &Entry, marked: bool, marks: bool) -> bool {
    match entry.replicas() {
        // A person was faster.
        0 => marked && (!marks || entry.was_scaled_to_zero()),
        _ => entry.wants_zero(),
    }
}

impl Entry {
    /// Whether the next step of its way to zero is the last one.
    fn wants_zero(&self) -> bool {
        let last = self.last.as_ref();
        let want = last.and_then(|last| last.decision.step.want);
        self.mode == Mode::Act
            && self.refusal.is_none()
            && self.can_be_held
            && self.replicas() > 0
            && want == Some(0)
    }

    /// Whether the last order of this replica was one to zero.
    fn was_scaled_to_zero(&self) -> bool {
        let written = self.written.as_ref();
        self.ordered == Some(0) || written.is_some_and(|written| written.order.to == 0)
    }
}
