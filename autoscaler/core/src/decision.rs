//! One decision: from averages to a number of pods. Section 2.4 of the KPA description, Knative's
//! `autoscaler.Scale`.
//!
//! Bias: up at once, down slowly. While panicking the figure never falls, and a scaler that is
//! created over more than one pod starts panicking, because it knows nothing of the load they were
//! started for. Minimum, maximum and the way to zero are not applied here but in
//! [`crate::reconcile`].

use crate::{
    capacity::excess_burst_capacity,
    delay::DelayWindow,
    reason::{Basis, Limit, Load},
    settings::Settings,
    time::Timestamp,
    value::MAX_PODS,
    window::Averages,
};

/// What a decision is made on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Pods that can take requests.
    pub ready: u32,
    /// Whether anything routes to the workload.
    pub reachable: bool,
    /// Load over stable and panic window, summed over the workload.
    pub averages: Averages,
    /// Load over the burst window, where the class has one and it is to be looked at.
    pub burst: Option<f64>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Pods wanted, before minimum, maximum and the way to zero.
    pub desired: u32,
    /// Whether it is a panic.
    pub panic_mode: bool,
    /// Room beyond load and reserve; below zero the activator belongs in the path.
    pub excess_burst_capacity: i32,
    /// Why this many.
    pub basis: Basis,
    /// What one decision may change at most, where that is less than what the load calls for.
    pub limit: Option<Limit>,
}

/// The memory from one decision to the next.
#[derive(Clone, Debug)]
pub struct Scaler {
    /// When the load was last over the threshold; `None` in calm.
    panicking_since: Option<Timestamp>,
    /// The most pods asked for in this panic.
    most: u32,
    delay: DelayWindow,
}

impl Scaler {
    /// A scaler over a workload with `ready` pods: in panic from `now` when there is more than one.
    pub fn new(now: Timestamp, ready: u32) -> Self {
        Self {
            panicking_since: (ready > 1).then_some(now),
            most: ready,
            delay: DelayWindow::default(),
        }
    }

    /// Whether it is a panic.
    pub const fn is_panicking(&self) -> bool {
        self.panicking_since.is_some()
    }

    /// The most pods asked for in this panic; what it started over when it is one from the start.
    pub const fn most_in_panic(&self) -> u32 {
        self.most
    }

    /// Decides.
    pub fn scale(&mut self, now: Timestamp, settings: &Settings, seen: &Observation) -> Scale {
        let ready = f64::from(seen.ready.max(1));
        let averages = seen.averages;
        // A burst counts only from the threshold on; below it the workload behaves exactly as class
        // kpa.
        let burst = seen.burst.filter(|&burst| {
            burst > averages.panic
                && (burst / settings.target).ceil() / ready >= settings.panic_threshold
        });
        let panic_load = burst.unwrap_or(averages.panic);

        let up = (settings.max_scale_up_rate * ready).ceil();
        let down = if seen.reachable {
            (ready / settings.max_scale_down_rate).floor()
        } else {
            0.0
        };
        let stable_needs = (averages.stable / settings.target).ceil();
        let panic_needs = (panic_load / settings.target).ceil();
        let (stable_pods, stable_limit) =
            bounded(stable_needs, down, up, settings.activation_scale);
        let (panic_pods, panic_limit) = bounded(panic_needs, down, up, settings.activation_scale);

        let over = panic_needs / ready >= settings.panic_threshold;
        if over {
            self.panicking_since = Some(now);
        } else if self
            .panicking_since
            .is_some_and(|since| since + settings.stable_window < now)
        {
            self.panicking_since = None;
            self.most = 0;
        }

        let load = Load {
            ready: seen.ready,
            target: settings.target,
        };
        let mut basis = Basis::Stable {
            load,
            average: averages.stable,
            window: settings.stable_window,
            needs: pods(stable_needs),
        };
        let mut limit = stable_limit;
        let mut desired = stable_pods;
        if let Some(since) = self.panicking_since {
            if panic_pods >= stable_pods {
                (desired, limit) = (panic_pods, panic_limit);
            }
            if over && desired >= self.most {
                basis = Basis::Panic {
                    load,
                    average: panic_load,
                    window: if burst.is_some() {
                        settings.burst_window
                    } else {
                        settings.panic_window
                    },
                    needs: pods(panic_needs),
                    threshold: settings.panic_threshold,
                    burst: burst.is_some(),
                };
            } else {
                basis = Basis::PanicHold {
                    until: since + settings.stable_window,
                    most: self.most.max(desired),
                    needs: desired,
                };
                limit = None;
            }
            self.most = self.most.max(desired);
            desired = self.most;
        }
        if seen.reachable {
            let kept = self.delay.record(now, settings.scale_down_delay, desired);
            if kept != desired {
                basis = Basis::Delayed {
                    from: desired,
                    to: kept,
                    delay: settings.scale_down_delay,
                };
                limit = None;
                desired = kept;
            }
        }

        Scale {
            desired,
            panic_mode: self.is_panicking(),
            excess_burst_capacity: excess_burst_capacity(settings, seen.ready, panic_load),
            basis,
            limit,
        }
    }

    /// Bytes held beyond the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.delay.heap_bytes()
    }
}

/// `needs`, within what one decision may change, then raised to the activation scale where there is
/// any load; and what moved it.
///
/// Floor before ceiling, as in Knative: at the lowest rates `up` is never below `down`, but if it
/// were, it would win.
fn bounded(needs: f64, down: f64, up: f64, activation: u32) -> (u32, Option<Limit>) {
    let bounded = pods(needs.max(down).min(up));
    if activation > bounded && activation > 1 && needs > 0.0 {
        (activation, Some(Limit::Activation(activation)))
    } else if needs > up {
        (bounded, Some(Limit::UpRate(bounded)))
    } else if needs < down {
        (bounded, Some(Limit::DownRate(bounded)))
    } else {
        (bounded, None)
    }
}

/// A number of pods that Kubernetes can hold. NaN is none.
fn pods(number: f64) -> u32 {
    (number as u32).min(MAX_PODS)
}
