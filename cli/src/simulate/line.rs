//! One decision as it is printed.
//!
//! The columns of the text form, and the keys of the same names in JSON, are an interface; more keys may come.

use ebb_autoscaler_core::{Decision, reason::Bound};
use serde::Serialize;

/// The header of the text form.
pub(super) const HEADER: &str = "t,ready,stable,panic,desired,panic_mode,excess_burst_capacity";

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    /// When, in the seconds of the recording.
    pub(super) t: f64,
    /// Ready pods it was made on, if known.
    pub(super) ready: Option<u32>,
    /// Average over the stable window, if there was data.
    pub(super) stable: Option<f64>,
    /// Average over the panic window, if there was data.
    pub(super) panic: Option<f64>,
    /// Pods the load calls for, within initial, minimum and maximum scale; before the way to zero, on which the last pod
    /// stays for a while. None as long as nothing was decided.
    pub(super) desired: Option<u32>,
    /// Whether it is a panic.
    pub(super) panic_mode: bool,
    /// Room beyond load and reserve; below zero the activator belongs in the path.
    pub(super) excess_burst_capacity: i32,
    /// Pods wanted, the way to zero included.
    pub(super) want: Option<u32>,
    /// Pods asked for now, where that changes.
    pub(super) apply: Option<u32>,
    /// Whether the activator is to be in the path.
    pub(super) proxy: bool,
    /// How many activators are to be in it.
    pub(super) activators: u32,
    /// Whether to find out if the activator answers.
    pub(super) probe: bool,
    /// Seconds until it has to be looked at again, if that is not only the next tick.
    pub(super) again: Option<f64>,
    /// Why, in words.
    pub(super) reason: String,
}

impl Line {
    /// The line for a decision at second `t` of the recording, on `ready` pods.
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

    /// The text form; `-` is what is not known.
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
