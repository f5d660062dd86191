//! The printed form of a decision.
//!
//! The columns of the text form and the JSON keys with the same names are a stable interface; JSON keys may be added.

use ebb_autoscaler_core::{Decision, reason::Bound};
use serde::Serialize;

/// The header of the decisions in text format: the names of the columns.
pub(super) const HEADER: &str = "t,ready,stable,panic,desired,panic_mode,excess_burst_capacity";

/// One decision, as it is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// Time of the decision, in seconds of the recording.
    pub(super) t: f64,
    /// Ready pods at the time of the decision, if known.
    pub(super) ready: Option<u32>,
    /// Average over the stable window, if there was data.
    pub(super) stable: Option<f64>,
    /// Average over the panic window, if there was data.
    pub(super) panic: Option<f64>,
    /// Desired pods within initial, minimum and maximum scale, before the scale-to-zero rules (which keep the last pod
    /// for a while). `None` if no desired number is known yet.
    pub(super) desired: Option<u32>,
    /// Whether the workload is in panic mode.
    pub(super) panic_mode: bool,
    /// Excess burst capacity; if it is below zero, the activator belongs in the request path.
    pub(super) excess_burst_capacity: i32,
    /// Desired pods after the scale-to-zero rules.
    pub(super) want: Option<u32>,
    /// The new number of requested replicas, if it changes.
    pub(super) apply: Option<u32>,
    /// Whether the activator must be in the request path.
    pub(super) proxy: bool,
    /// How many activators must be in the request path.
    pub(super) activators: u32,
    /// Whether the autoscaler must probe whether the activator answers at the workload's address.
    pub(super) probe: bool,
    /// Seconds until the next decision, if it must be earlier than the next tick.
    pub(super) again: Option<f64>,
    /// The reason for the decision, in words.
    pub(super) reason: String,
}

impl Line {
    /// Creates the line for a decision at second `t` of the recording, with `ready` ready pods.
    pub(super) fn new(t: f64, ready: Option<u32>, decision: &Decision) -> Line {
        let step = decision.step;
        let bounded = step.bound.map(|bound| match bound {
            Bound::Min(pods) | Bound::Max(pods) | Bound::Initial(pods) => pods,
        });
        Line {
            t,
            ready,
            stable: decision.averages.map(|averages| averages.stable),
            panic: decision.averages.map(|averages| averages.panic),
            desired: decision.desired.map(|desired| bounded.unwrap_or(desired)),
            panic_mode: decision.panic_mode,
            excess_burst_capacity: decision.excess_burst_capacity,
            want: step.want,
            apply: step.apply,
            proxy: step.proxy,
            activators: step.activators,
            probe: step.probe,
            again: step.again.map(|again| again.as_secs_f64()),
            reason: decision.reason.to_string(),
        }
    }

    /// Returns the text form; `-` means unknown.
    pub(super) fn csv(&self) -> String {
        format!(
            "{},{},{},{},{},{},{}",
            self.t,
            known(self.ready),
            known(self.stable),
            known(self.panic),
            known(self.desired),
            self.panic_mode,
            self.excess_burst_capacity
        )
    }
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
