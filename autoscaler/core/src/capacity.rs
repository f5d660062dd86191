//! Who carries a burst: the capacity in reserve, and how many activators it takes.

use crate::settings::Settings;

/// Fewest activators in a path: one may fail.
const LEAST_ACTIVATORS: u32 = 2;

/// Room the ready pods have beyond the load and the reserve that was asked for, in the metric's
/// unit.
///
/// Below zero the activator belongs in the path, and only the sign matters to it. 0 and -1 when the
/// reserve is 0 (only at zero pods) and -1 (always).
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

/// The same before there was any load to go by: what the initial pods will have.
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

/// Activators to put in the path of a workload with `ready` pods.
pub fn activators(settings: &Settings, ready: u32) -> u32 {
    if settings.target_burst_capacity == 0.0 {
        return LEAST_ACTIVATORS;
    }
    let load = f64::from(ready) * settings.total + settings.target_burst_capacity.max(0.0);
    ((load / settings.activator_capacity).ceil() as u32).max(LEAST_ACTIVATORS)
}
