//! The reason of a decision, as data and as text.
//!
//! A [`Reason`] is typed, so that metrics and tests do not parse the text. It has the basis of the desired number of
//! pods ([`Basis`]) and, if the number was changed afterwards, the cause ([`Limit`], [`Bound`], [`ToZero`]).

use std::{fmt, time::Duration};

use crate::{duration::GoDuration, reconcile::ToZero, time::Timestamp};

/// The number of ready pods and the target per pod, with which an average load is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Ready pods.
    pub ready: u32,
    /// Target per pod.
    pub target: f64,
}

/// What determined the desired number of pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// No load was measured yet, so no decision was made.
    Undecided,
    /// The number of ready pods is unknown, so the last desired number of pods still applies.
    ReadyUnknown,
    /// Nothing was measured for longer than the stable window, so the last desired number of pods still applies.
    NoData,
    /// A source has no current metrics, so the workload keeps at least as many pods as before.
    Stale {
        /// Number of pods that the known load needs, i.e. the load of the sources with current metrics.
        needs: u32,
        /// Number of pods that the workload has and does not lose, although its load needs fewer.
        held: u32,
    },
    /// No panic: the average over the stable window decides.
    Stable {
        /// Ready pods and target that the average is compared with.
        load: Load,
        /// The average load over the stable window.
        average: f64,
        /// Length of the stable window.
        window: Duration,
        /// Number of pods that the average load needs, before the limits of a decision are applied.
        needs: u32,
    },
    /// Panic mode: the average over the panic window or the burst window has reached the panic threshold.
    Panic {
        /// Ready pods and target that the average is compared with.
        load: Load,
        /// The average load over the panic window or the burst window.
        average: f64,
        /// Length of the panic window or the burst window.
        window: Duration,
        /// Number of pods that the average load needs, before the limits of a decision are applied.
        needs: u32,
        /// Panic threshold: panic mode begins when the load needs this multiple of the ready pods.
        threshold: f64,
        /// Whether the window is the burst window.
        burst: bool,
    },
    /// Panic mode without a new maximum: the maximum number of pods desired since panic mode began still applies.
    PanicHold {
        /// When panic mode ends if the load stays below the threshold.
        until: Timestamp,
        /// Number of pods that the workload keeps.
        most: u32,
        /// Number of pods that the load needs now.
        needs: u32,
    },
    /// A lower number of desired pods has not yet lasted for the scale-down delay.
    Delayed {
        /// Number of pods that the load needs, before the delay is applied.
        from: u32,
        /// Number of pods that the workload keeps.
        to: u32,
        /// The scale-down delay.
        delay: Duration,
    },
}

/// A limit that was applied to a decision, so the decision is not the number of pods that the load needs. The value of
/// each variant is the number of pods after the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max-scale-up-rate`.
    UpRate(u32),
    /// `max-scale-down-rate`.
    DownRate(u32),
    /// `activation-scale`.
    Activation(u32),
}

/// The bound that changed the desired number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The number of desired pods was raised to the value of `min-scale`.
    Min(u32),
    /// The number of desired pods was lowered to the value of `max-scale`.
    Max(u32),
    /// The number of desired pods of a new revision was raised to the value of `initial-scale`.
    Initial(u32),
}

/// The reason of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Time of the decision. Remaining times in the text count from this time.
    pub at: Timestamp,
    /// What determined the desired number of pods.
    pub basis: Basis,
    /// The limit that changed the desired number of pods in this decision.
    pub limit: Option<Limit>,
    /// The bound that changed the desired number of pods.
    pub bound: Option<Bound>,
    /// State of scaling to zero; `None` if the workload is not being scaled to zero.
    pub to_zero: Option<ToZero>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basis {
            Basis::PanicHold { until, most, needs } => {
                let left = GoDuration::from_secs(
                    i64::try_from(until.since(self.at).as_secs()).unwrap_or(i64::MAX),
                );
                write!(
                    f,
                    "panic: {} kept, the load needs {needs} now, panic mode ends in {left}",
                    Pods(most)
                )?;
            }
            basis => basis.fmt(f)?,
        }
        match self.limit {
            Some(Limit::UpRate(to)) => write!(f, "; at most {to} by max-scale-up-rate")?,
            Some(Limit::DownRate(to)) => write!(f, "; at least {to} by max-scale-down-rate")?,
            Some(Limit::Activation(to)) => write!(f, "; raised to activation-scale {to}")?,
            None => {}
        }
        match self.bound {
            Some(Bound::Min(min)) => write!(f, "; raised to min-scale {min}")?,
            Some(Bound::Max(max)) => write!(f, "; limited to max-scale {max}")?,
            Some(Bound::Initial(initial)) => write!(f, "; raised to initial-scale {initial}")?,
            None => {}
        }
        match self.to_zero {
            Some(step) => write!(f, "; {step}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Undecided => f.write_str("nothing measured yet"),
            Self::ReadyUnknown => f.write_str("unchanged: number of ready pods unknown"),
            Self::NoData => f.write_str("unchanged: no data for a whole stable window"),
            Self::Stale { needs, held } => {
                write!(
                    f,
                    "not scaled down: some pods have no current metrics, {} kept, the known load needs {needs}",
                    Pods(held)
                )
            }
            Self::Stable {
                load,
                average,
                window,
                needs,
            } => write!(
                f,
                "stable: {} average {} needs {} at target {}",
                Length(window),
                Figure(average),
                Pods(needs),
                Figure(load.target)
            ),
            Self::Panic {
                load,
                average,
                window,
                needs,
                threshold,
                burst,
            } => write!(
                f,
                "{}: {} average {} needs {}, {} ready, threshold {}x",
                if burst { "burst" } else { "panic" },
                Length(window),
                Figure(average),
                Pods(needs),
                load.ready,
                Figure(threshold)
            ),
            Self::PanicHold { most, needs, .. } => {
                write!(f, "panic: {} kept, the load needs {needs} now", Pods(most))
            }
            Self::Delayed { from, to, delay } => {
                write!(
                    f,
                    "scale-down-delay: {} kept, because the load has needed only {from} for less than {}",
                    Pods(to),
                    GoDuration::from(delay)
                )
            }
        }
    }
}

/// A number of pods, written as `1 pod` or `2 pods`.
struct Pods(u32);

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "pod" } else { "pods" })
    }
}

/// A number, written with one decimal, or with two significant digits if it is below one.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A number below one has two significant digits: a load of 0.0017 needs a pod, but a load that is printed as 0
        // would seem to need none.
        let decimals = if self.0 > 0.0 && self.0 < 1.0 {
            1 - self.0.log10().floor() as i32
        } else {
            1
        };
        let scale = 10_f64.powi(decimals);
        write!(f, "{}", (self.0 * scale).round() / scale)
    }
}

/// A window's length: `6 s`, `250 ms`.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{} s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_short_and_never_rounded_to_nothing() {
        for (value, text) in [
            (0.0, "0"),
            (48.25, "48.3"),
            (7.0, "7"),
            (0.7, "0.7"),
            (0.333_333, "0.33"),
            (0.001_667, "0.0017"),
        ] {
            assert_eq!(Figure(value).to_string(), text);
        }
    }
}
