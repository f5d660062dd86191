//! Excess burst capacity, and the number of activators for a workload.

use crate::settings::Settings;

/// Fewest activators in a request path: one of them may fail.
const LEAST_ACTIVATORS: u32 = 2;

/// Excess burst capacity: what the ready pods can serve beyond the load and the target burst capacity, in the metric's
/// unit.
///
/// Below zero, the activator belongs in the request path; only the sign matters for that. The result is 0 if the target
/// burst capacity is 0 (activator only at zero pods), and -1 if it is -1 (always).
pub fn excess_burst_capacity(settings: &Settings, ready: u32, load: f64) -> i32 {
    let reserve = settings.target_burst_capacity;
    if reserve == 0.0 {
        0
    } else if reserve > 0.0 {
        (f64::from(ready) * settings.total - reserve - load).floor() as i32
    } else {
        -1
    }
}

/// The same before any load is known, from the initial pods.
pub(crate) fn initial_excess(settings: &Settings) -> i32 {
    let reserve = settings.target_burst_capacity;
    if reserve == 0.0 {
        0
    } else if reserve > 0.0 {
        (f64::from(settings.initial_scale) * settings.total - reserve) as i32
    } else {
        -1
    }
}

/// Number of activators for the request path of a workload with `ready` pods.
pub fn activators(settings: &Settings, ready: u32) -> u32 {
    if settings.target_burst_capacity == 0.0 {
        return LEAST_ACTIVATORS;
    }
    let load = f64::from(ready) * settings.total + settings.target_burst_capacity.max(0.0);
    ((load / settings.activator_capacity).ceil() as u32).max(LEAST_ACTIVATORS)
}
