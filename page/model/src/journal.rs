//! The last decisions that differed from the decision before them.
//!
//! A decision is made every two seconds, and nearly all decisions equal the decision before them. People want to know
//! what changed, and why. Entries are stored as data, and formatted when they are read.

use std::{collections::VecDeque, mem::discriminant};

use ebb_autoscaler_core::{Decision, Reason};

use crate::json::Line;

/// Maximum number of entries. The entries cover some minutes of a workload whose decisions change often, or days of a
/// steady workload.
const KEPT: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    ready: Option<u32>,
    desired: Option<u32>,
    panic_mode: bool,
    reason: Reason,
}

/// The entries, newest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(VecDeque<Entry>);

impl Journal {
    pub(crate) fn record(&mut self, decision: &Decision, ready: Option<u32>) {
        let entry = Entry {
            ready,
            desired: decision.step.want.or(decision.desired),
            panic_mode: decision.panic_mode,
            reason: decision.reason,
        };
        if self.0.back().is_some_and(|last| last.says_the_same(&entry)) {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// Returns the entries as text, newest first.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let newest_first = self.0.iter().rev();
        newest_first
            .map(|entry| Line {
                at: seconds(&entry.reason),
                ready_replicas: entry.ready,
                desired_replicas: entry.desired,
                panic_mode: entry.panic_mode,
                reason: entry.reason.to_string(),
            })
            .collect()
    }
}

impl Entry {
    /// Returns whether two entries have the same desired replicas, the same mode and the same kind of reason. The ready
    /// replicas and the numbers in the reason may differ.
    fn says_the_same(&self, other: &Self) -> bool {
        let kind = |entry: &Self| {
            (
                entry.desired,
                entry.panic_mode,
                discriminant(&entry.reason.basis),
                entry.reason.bound,
                entry.reason.to_zero.map(|step| discriminant(&step)),
            )
        };
        kind(self) == kind(other)
    }
}

fn seconds(reason: &Reason) -> f64 {
    reason.at.since_epoch().as_millis() as f64 / 1e3
}
