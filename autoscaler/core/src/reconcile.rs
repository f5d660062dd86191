//! Converts a decision into a change of replicas: applies the bounds, the initial scale and scale to zero. It follows
//! Knative's KPA reconciler.
//!
//! [`Reconciler`] is a state machine without I/O. The caller passes the [`Facts`], gets a [`Step`], carries it out and
//! calls again at the time that the step names.
//!
//! Bias: the last pod is removed only when it is certain that the activator can queue the next request.

use std::{fmt, time::Duration};

use crate::{
    activity::{Activity, Status},
    capacity::activators,
    duration::GoDuration,
    facts::Facts,
    reason::Bound,
    settings::Settings,
    time::Timestamp,
};

/// Time that is added to the progress deadline. Kubernetes must declare the Deployment failed before the pods of the
/// failed start are removed, because these pods show why the start failed. Knative has the same constant
/// (`activationTimeoutBuffer`).
const ACTIVATION_BUFFER: Duration = Duration::from_secs(30);

/// Time until the next decision for a workload that became idle while the activator was already in its request path.
/// Without this time limit, nothing would cause the next decision. As in Knative, the time is long enough for the
/// current step to be complete.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// State of a workload that is being scaled to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToZero {
    /// The last pod is not removed: `enable-scale-to-zero` is false.
    Disabled,
    /// Too few pods are ready, and the time limit for the start of the workload has not passed.
    Activating,
    /// Too few pods became ready in time: the start has failed.
    ActivationTimedOut,
    /// The workload became active less than a stable window ago: one pod is kept until the stable window is over. The
    /// value is the remaining time.
    Idle(Duration),
    /// The workload is idle. The next step is that the activator enters the request path.
    Deactivated,
    /// It is not confirmed yet that the activator is in the request path.
    AwaitingActivator,
    /// The last pod is kept until the retention period is over. The value is the remaining time.
    Retained(Duration),
    /// The last pod is kept until the grace period is over, while the activator is in the request path. The value is
    /// the remaining time.
    Grace(Duration),
    /// The last pod is removed.
    Gone,
}

impl fmt::Display for ToZero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |f: &mut fmt::Formatter<'_>, what: &str, left: Duration| {
            // The remaining time is written in whole seconds, rounded up, because "0s" would mean that the time is
            // over.
            let seconds = left.as_nanos().div_ceil(1_000_000_000);
            write!(
                f,
                "{what} for {} more",
                GoDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
            )
        };
        match *self {
            Self::Disabled => f.write_str("one pod kept, enable-scale-to-zero is false"),
            Self::Activating => f.write_str("waiting for the first pods"),
            Self::ActivationTimedOut => {
                f.write_str("scaled to zero, because too few pods became ready in time")
            }
            Self::Idle(more) => left(f, "one pod kept during the stable window", more),
            Self::Deactivated => f.write_str("no load: the activator enters the request path"),
            Self::AwaitingActivator => f.write_str("last pod kept until the activator answers"),
            Self::Retained(more) => left(f, "last pod retained", more),
            Self::Grace(more) => left(f, "last pod kept in the grace period", more),
            Self::Gone => f.write_str("scaled to zero"),
        }
    }
}

/// The actions that the caller is to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Desired pods, within minimum and maximum; `None` if the number is unknown.
    pub want: Option<u32>,
    /// Set `spec.replicas` to this number; `None`: leave it as it is.
    pub apply: Option<u32>,
    /// Whether the activator is to be in the request path.
    pub proxy: bool,
    /// Number of activators that are to be in the request path.
    pub activators: u32,
    /// Whether the caller is to probe the activator at the workload's address, and to pass the result to the next step
    /// ([`Facts::activator_answers`]).
    pub probe: bool,
    /// Decide again after this time at the latest, even if nothing else happens.
    pub again: Option<Duration>,
    /// The bound that changed the desired number of pods.
    pub bound: Option<Bound>,
    /// State of scaling to zero; `None` if the workload is not being scaled to zero.
    pub to_zero: Option<ToZero>,
}

/// The state of a workload that is kept between its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciler {
    status: Status,
}

impl Reconciler {
    /// Creates a reconciler for a workload with this status.
    pub const fn new(status: Status) -> Self {
        Self { status }
    }

    /// Returns the status of the workload.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Makes one step. `desired` and `excess` are the desired pods and the excess burst capacity of the latest
    /// decision; `desired` is `None` before the first decision.
    pub fn step(
        &mut self,
        now: Timestamp,
        settings: &Settings,
        facts: &Facts,
        ready: u32,
        desired: Option<u32>,
        excess: i32,
    ) -> Step {
        let mut step = self.aim(now, settings, facts, desired);
        step.apply = step.apply.filter(|&pods| pods != facts.replicas);
        // The activator leaves the request path only if pods are desired and can serve a burst without the activator.
        step.proxy = !(step.want.is_some_and(|pods| pods > 0) && excess >= 0);
        step.activators = activators(settings, ready);
        self.status.observe(
            now,
            step.want,
            ready,
            self.serving_threshold(settings, facts),
        );
        step
    }

    /// Returns a step with the number of desired pods, and with the replicas to apply, if any. It follows Knative's
    /// `scaler.scale`.
    fn aim(
        &self,
        now: Timestamp,
        settings: &Settings,
        facts: &Facts,
        desired: Option<u32>,
    ) -> Step {
        if desired.is_none() && self.status.activity != Activity::Activating {
            return Step::hold(None);
        }
        let (want, bound) = self.bounded(settings, facts, desired);
        let step = if want == 0 {
            self.toward_zero(now, settings, facts)
        } else {
            Step::apply(want)
        };
        Step { bound, ..step }
    }

    /// Returns the desired number of pods within minimum and maximum, and the bound that changed the number. The
    /// minimum is applied first; an unreachable workload has no minimum.
    fn bounded(
        &self,
        settings: &Settings,
        facts: &Facts,
        desired: Option<u32>,
    ) -> (u32, Option<Bound>) {
        let min = if facts.reachable {
            settings.min_scale
        } else {
            0
        };
        let initial = settings.initial_scale;
        let (min, raised) =
            if initial > 1 && initial > min && !self.status.initialized && facts.reachable {
                (initial, Bound::Initial(initial))
            } else {
                (min, Bound::Min(min))
            };
        match desired {
            // An unknown number of desired pods is treated as lower than the minimum.
            None => (min, (min > 0).then_some(raised)),
            Some(desired) if desired < min => (min, Some(raised)),
            Some(desired) if settings.max_scale != 0 && desired > settings.max_scale => {
                (settings.max_scale, Some(Bound::Max(settings.max_scale)))
            }
            Some(desired) => (desired, None),
        }
    }

    /// Returns the next step of scaling to zero, as Knative's `handleScaleToZero` does.
    fn toward_zero(&self, now: Timestamp, settings: &Settings, facts: &Facts) -> Step {
        if !settings.scale_to_zero {
            return Step {
                to_zero: Some(ToZero::Disabled),
                ..Step::apply(1)
            };
        }
        let lasted = self.status.lasted(now);
        match self.status.activity {
            Activity::Activating => {
                let timeout = settings.progress_deadline.saturating_add(ACTIVATION_BUFFER);
                if lasted > timeout {
                    return Step {
                        to_zero: Some(ToZero::ActivationTimedOut),
                        ..Step::apply(0)
                    };
                }
                Step {
                    again: Some(timeout - lasted),
                    to_zero: Some(ToZero::Activating),
                    ..Step::hold(None)
                }
            }
            Activity::Active => {
                let left = settings.stable_window.saturating_sub(lasted);
                if !left.is_zero() {
                    return Step {
                        again: Some(left),
                        to_zero: Some(ToZero::Idle(left)),
                        ..Step::apply(1)
                    };
                }
                let again = facts.proxying_since.map(|_| LOOK_AGAIN);
                Step {
                    again,
                    to_zero: Some(ToZero::Deactivated),
                    ..Step::hold(Some(0))
                }
            }
            Activity::Inactive => self.last_pod(now, settings, facts),
        }
    }

    /// Returns the step for the last pod of an idle workload: keep it, or remove it.
    fn last_pod(&self, now: Timestamp, settings: &Settings, facts: &Facts) -> Step {
        let wait = |again: Duration, to_zero| Step {
            again: Some(again),
            to_zero: Some(to_zero),
            ..Step::hold(Some(0))
        };
        let always_proxied = settings.target_burst_capacity == -1.0;
        if !always_proxied && facts.activator_answers != Some(true) {
            return Step {
                probe: true,
                to_zero: Some(ToZero::AwaitingActivator),
                ..Step::hold(Some(0))
            };
        }
        let idle = self.status.lasted(now);
        let retention = if facts.reachable {
            settings.last_pod_retention
        } else {
            Duration::ZERO
        };
        let gone = Step {
            to_zero: Some(ToZero::Gone),
            ..Step::apply(0)
        };
        let grace = settings.scale_to_zero_grace;
        if idle >= grace.max(retention) {
            return gone;
        }
        if idle < retention {
            let left = retention - idle;
            return wait(left, ToZero::Retained(left));
        }
        // Time for which the activator has been in the request path. It may be longer than the idle time.
        let proxied = facts
            .proxying_since
            .map_or(Duration::ZERO, |since| now.since(since));
        // The grace period is over as soon as the activator has been in the path for the whole period, or the workload
        // has been idle for the whole period. Knative counts only the time in the path, so Knative may remove the last
        // pod later than necessary.
        let left = grace.saturating_sub(proxied.max(idle));
        if left.is_zero() {
            gone
        } else {
            wait(left, ToZero::Grace(left))
        }
    }

    /// Returns the number of ready pods from which the workload counts as serving.
    fn serving_threshold(&self, settings: &Settings, facts: &Facts) -> u32 {
        let min = if facts.reachable {
            settings.min_scale
        } else {
            0
        };
        min.max(if self.status.initialized {
            1
        } else {
            settings.initial_scale
        })
    }
}

impl Step {
    /// Returns a step that sets `spec.replicas` to `pods`.
    const fn apply(pods: u32) -> Self {
        Self {
            apply: Some(pods),
            ..Self::hold(Some(pods))
        }
    }

    /// Returns a step with `want` desired pods that leaves `spec.replicas` as it is.
    pub(crate) const fn hold(want: Option<u32>) -> Self {
        Self {
            want,
            apply: None,
            proxy: true,
            activators: 0,
            probe: false,
            again: None,
            bound: None,
            to_zero: None,
        }
    }
}
