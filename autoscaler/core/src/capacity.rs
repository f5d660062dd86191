//! Excess burst capacity, and the number of activators for a workload.

use crate::settings::Settings;

/// Minimum number of activators in a request path. With two activators, requests are still forwarded if one of them
/// fails.
const LEAST_ACTIVATORS: u32 = 2;

/// Returns the excess burst capacity: the load that the ready pods can serve beyond the current load and the target
/// burst capacity, in the unit of the metric.
///
/// If the result is below zero, the activator belongs in the request path; only the sign matters. The result is 0 if
/// the target burst capacity is 0 (the activator is in the path only at zero pods), and -1 if the target burst capacity
/// is -1 (the activator is always in the path).
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

/// Returns the excess burst capacity before any load is known, computed from the initial number of pods.
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

/// Returns the number of activators for the request path of a workload with `ready` pods.
pub fn activators(settings: &Settings, ready: u32) -> u32 {
    if settings.target_burst_capacity == 0.0 {
        return LEAST_ACTIVATORS;
    }
    let load = f64::from(ready) * settings.total + settings.target_burst_capacity.max(0.0);
    ((load / settings.activator_capacity).ceil() as u32).max(LEAST_ACTIVATORS)
}
