//! The reason of a decision, as data and as text.
//!
//! It is typed, so that a metric or a test need not parse the text. A reason has the basis of the figure ([`Basis`])
//! and, if the figure was changed afterwards, the cause ([`Limit`], [`Bound`], [`ToZero`]).

use std::{fmt, time::Duration};

use crate::{duration::GoDuration, reconcile::ToZero, time::Timestamp};

/// What the averages are compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Ready pods.
    pub ready: u32,
    /// Target per pod.
    pub target: f64,
}

/// The basis of the figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// Nothing was decided yet.
    Undecided,
    /// The number of ready pods is unknown: the last figure stays.
    ReadyUnknown,
    /// Nothing was measured for longer than the stable window: the last figure stays.
    NoData,
    /// A source has no current metrics, and its last figures are kept: never fewer pods than before.
    Stale {
        /// Pods that the load of the remaining sources needs.
        needs: u32,
        /// Pods kept.
        held: u32,
    },
    /// No panic: the average over the stable window decides.
    Stable {
        /// What the average is compared with.
        load: Load,
        /// The average over the window.
        average: f64,
        /// Length of the window.
        window: Duration,
        /// Pods that the average needs, before the limits of one decision.
        needs: u32,
    },
    /// Panic: the average over a short window is over the threshold.
    Panic {
        /// What the average is compared with.
        load: Load,
        /// The average over the window.
        average: f64,
        /// Length of the window.
        window: Duration,
        /// Pods that the average needs, before the limits of one decision.
        needs: u32,
        /// Panic threshold, as a multiple of the ready pods.
        threshold: f64,
        /// Whether the window is the burst window.
        burst: bool,
    },
    /// Panic mode without new load over the threshold: the most pods desired in it stay.
    PanicHold {
        /// When panic mode ends if the load stays below the threshold.
        until: Timestamp,
        /// Pods kept.
        most: u32,
        /// Pods that the load needs now.
        needs: u32,
    },
    /// A lower figure has not lasted for the scale-down delay yet.
    Delayed {
        /// Pods that the load needs.
        from: u32,
        /// Pods kept.
        to: u32,
        /// The scale-down delay.
        delay: Duration,
    },
}

/// The limit that kept one decision from what the load needs, with the resulting number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max-scale-up-rate`.
    UpRate(u32),
    /// `max-scale-down-rate`.
    DownRate(u32),
    /// `activation-scale`.
    Activation(u32),
}

/// The bound that changed the figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Raised to the minimum.
    Min(u32),
    /// Lowered to the maximum.
    Max(u32),
    /// Raised to the initial scale of a new revision.
    Initial(u32),
}

/// The reason of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// When it was decided; remaining times in the text count from here.
    pub at: Timestamp,
    /// The basis of the figure.
    pub basis: Basis,
    /// The limit of one decision that changed the figure.
    pub limit: Option<Limit>,
    /// The bound that changed the figure.
    pub bound: Option<Bound>,
    /// State on the way to zero; `None`: it is not on that way.
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
                    "panic: {} kept, {needs} needed now, calm again in {left}",
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
                    "not scaled down: some pods have no current metrics, {} kept, {needs} needed by the others",
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
                write!(f, "panic: {} kept, {needs} needed now", Pods(most))
            }
            Self::Delayed { from, to, delay } => {
                write!(
                    f,
                    "scale-down-delay: {} kept, {from} needed for less than {}",
                    Pods(to),
                    GoDuration::from(delay)
                )
            }
        }
    }
}

/// A count with its noun, in singular or plural.
struct Pods(u32);

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "pod" } else { "pods" })
    }
}

/// A figure with one decimal, or with two significant digits if it is below one.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two significant digits below one: a load of 0.0017 needs a pod, and a printed 0 would not.
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
