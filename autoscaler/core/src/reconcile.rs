//! From a decision to an order: bounds, initial scale and the way to zero. Section 2.6 of the KPA
//! description.
//!
//! A state machine without I/O. The caller brings the [`Facts`], gets a [`Step`] back, does what it
//! says and comes again when it says so. Bias: the last pod goes only when it is sure that the
//! activator is there to hold the next request.

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

/// Added to the progress deadline: the deployment's own verdict must come first, so that the pods
/// are still there to tell why they failed. Knative's `activationTimeoutBuffer`.
const ACTIVATION_BUFFER: Duration = Duration::from_secs(30);

/// When to look again after a workload was found idle while the activator is already in its path,
/// so that nothing else would make anybody look: long enough for this step to be over. As in
/// Knative.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Where a workload stands on the way to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToZero {
    /// The last pod may not go: `enable-scale-to-zero` is false.
    Disabled,
    /// It has not come up yet, and is waited for.
    Activating,
    /// It did not come up in time: given up.
    ActivationTimedOut,
    /// It was busy a while ago: one pod is kept this much longer.
    Idle(Duration),
    /// It is idle; the activator now enters the path.
    Deactivated,
    /// The activator has not been seen in the path yet.
    AwaitingActivator,
    /// The last pod is kept this much longer, as asked for.
    Retained(Duration),
    /// The activator must stay in the path this much longer.
    Grace(Duration),
    /// The last pod goes.
    Gone,
}

impl fmt::Display for ToZero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |f: &mut fmt::Formatter<'_>, what: &str, left: Duration| {
            // Whole seconds, up: nobody cares for more, and "0s" would say that it is over.
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
            Self::ActivationTimedOut => f.write_str("to zero, no pod came up in time"),
            Self::Idle(more) => left(f, "one pod kept in the idle time", more),
            Self::Deactivated => f.write_str("idle, the activator takes over"),
            Self::AwaitingActivator => f.write_str("last pod kept until the activator answers"),
            Self::Retained(more) => left(f, "last pod retained", more),
            Self::Grace(more) => left(f, "last pod kept in the grace period", more),
            Self::Gone => f.write_str("to zero"),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pods wanted, within bounds; `None` when nothing is known yet.
    pub want: Option<u32>,
    /// Ask for this many pods; `None`: leave them as they are.
    pub apply: Option<u32>,
    /// Whether the activator is to be in the path.
    pub proxy: bool,
    /// How many activators are to be in it.
    pub activators: u32,
    /// Whether to find out if the activator answers at the workload's address, and come again with
    /// the result.
    pub probe: bool,
    /// Come again after this time at the latest, even if nothing else happens.
    pub again: Option<Duration>,
    /// The bound that moved the figure.
    pub bound: Option<Bound>,
    /// Where it stands on the way to zero, when it is on it.
    pub to_zero: Option<ToZero>,
}

/// The memory from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconciler {
    status: Status,
}

impl Reconciler {
    /// A reconciler of a workload that stands as `status` says.
    pub const fn new(status: Status) -> Self {
        Self { status }
    }

    /// How the workload stands.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// One step. `desired` and `excess` are the latest decision's; `None` before the first.
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
        // The activator leaves the path only when pods are wanted and can bear a burst without it.
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

    /// Number of pods wanted and whether to apply it. Knative's `scaler.scale`.
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

    /// The figure within minimum and maximum. The minimum is looked at first, and is none for the
    /// unreachable.
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
            // Unknown is below any minimum, also 0.
            None => (min, (min > 0).then_some(raised)),
            Some(desired) if desired < min => (min, Some(raised)),
            Some(desired) if settings.max_scale != 0 && desired > settings.max_scale => {
                (settings.max_scale, Some(Bound::Max(settings.max_scale)))
            }
            Some(desired) => (desired, None),
        }
    }

    /// The way to zero. Knative's `handleScaleToZero`.
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

    /// Whether the last pod of an idle workload may go.
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
        // The activator may have been in the path for longer than the workload was idle.
        let proxied = facts
            .proxying_since
            .map_or(Duration::ZERO, |since| now.since(since));
        // Whichever of the two ends first; Knative waits for the second alone, and so may come too
        // late.
        let left = grace.saturating_sub(proxied.max(idle));
        if left.is_zero() {
            gone
        } else {
            wait(left, ToZero::Grace(left))
        }
    }

    /// Ready pods from which the workload counts as serving.
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
    /// Have `pods` pods.
    const fn apply(pods: u32) -> Self {
        Self {
            apply: Some(pods),
            ..Self::hold(Some(pods))
        }
    }

    /// Want as many, but leave the workload as it is.
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
