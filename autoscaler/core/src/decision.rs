//! Makes one decision: computes the desired number of pods from the average load, as Knative's `autoscaler.Scale` does.
//!
//! Bias: scale up at once, scale down slowly. In panic mode the number of desired pods never falls. A scaler that is
//! created for more than one pod starts in panic mode, because the load for which the pods were started is unknown.
//! Minimum, maximum and scale to zero are not applied here but in [`crate::reconcile`].

use crate::{
    capacity::excess_burst_capacity,
    delay::DelayWindow,
    reason::{Basis, Limit, Load},
    settings::Settings,
    time::Timestamp,
    value::MAX_PODS,
    window::Averages,
};

/// The input of a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Ready pods.
    pub ready: u32,
    /// Whether any route sends traffic to the workload.
    pub reachable: bool,
    /// Average load over the stable and the panic window, summed over all sources of the workload.
    pub averages: Averages,
    /// Average load over the burst window; `None` if the class has no burst window or the value is out of date.
    pub burst: Option<f64>,
}

/// The result of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Desired pods, before minimum, maximum and scale to zero are applied.
    pub desired: u32,
    /// Whether panic mode is on.
    pub panic_mode: bool,
    /// Excess burst capacity; below zero, the activator belongs in the request path.
    pub excess_burst_capacity: i32,
    /// The average, or the rule, from which `desired` results.
    pub basis: Basis,
    /// The limit that makes `desired` differ from what the load needs; `None` if no limit applied.
    pub limit: Option<Limit>,
}

/// The state of a workload that is kept between its decisions.
#[derive(Clone, Debug)]
pub struct Scaler {
    /// Time at which the load last reached the panic threshold; `None` outside panic mode.
    panicking_since: Option<Timestamp>,
    /// Maximum number of pods desired since panic mode began.
    most: u32,
    delay: DelayWindow,
}

impl Scaler {
    /// Creates a scaler for a workload with `ready` pods. It starts in panic mode at `now` if there is more than one
    /// pod.
    pub fn new(now: Timestamp, ready: u32) -> Self {
        Self {
            panicking_since: (ready > 1).then_some(now),
            most: ready,
            delay: DelayWindow::default(),
        }
    }

    /// Returns whether panic mode is on.
    pub const fn is_panicking(&self) -> bool {
        self.panicking_since.is_some()
    }

    /// Returns the maximum number of pods desired since panic mode began. If the scaler started in panic mode, the
    /// initial number of pods counts too.
    pub const fn most_in_panic(&self) -> u32 {
        self.most
    }

    /// Makes a decision at `now`.
    pub fn scale(&mut self, now: Timestamp, settings: &Settings, seen: &Observation) -> Scale {
        let ready = f64::from(seen.ready.max(1));
        let averages = seen.averages;
        // A burst counts only if it reaches the panic threshold. Below the threshold, the workload behaves exactly as
        // in class kpa.
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

    /// Returns the size of the heap memory in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.delay.heap_bytes()
    }
}

/// Limits `needs` to `down..=up`, the range that one decision may reach, then raises the result to the activation scale
/// if there is any load. Returns the number of pods, and the limit that changed it.
///
/// The lower limit is applied before the upper one, as in Knative. The order matters only if `up` is below `down`,
/// which cannot happen: even with the lowest allowed scale rates, `up` is at least `down`.
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

/// Converts `number` to a number of pods that Kubernetes can store. NaN becomes 0.
fn pods(number: f64) -> u32 {
    (number as u32).min(MAX_PODS)
}
