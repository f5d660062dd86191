//! Who scales a workload, on what, and how its samples are averaged.
//!
//! Names are matched exactly, case included, as Knative does: a near miss is an error to report,
//! not something to guess at.

use crate::problem::Fault;

/// Who scales the workload: the `autoscaling.knative.dev/class` annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// `kpa.autoscaling.knative.dev`: Knative's algorithm, as there.
    #[default]
    Kpa,
    /// `hpa.autoscaling.knative.dev`: a HorizontalPodAutoscaler made for the workload.
    Hpa,
    /// `ebb.dev`: Knative's algorithm, and the burst window on top.
    Ebb,
    /// Somebody else's: left alone.
    Other(Box<str>),
}

impl Class {
    /// Reads a class name.
    ///
    /// # Errors
    /// A name under `.knative.dev` that is not one of Knative's two.
    pub fn parse(value: &str) -> Result<Self, Fault> {
        match value {
            "kpa.autoscaling.knative.dev" => Ok(Self::Kpa),
            "hpa.autoscaling.knative.dev" => Ok(Self::Hpa),
            "ebb.dev" => Ok(Self::Ebb),
            other if other.ends_with(".knative.dev") => Err(Fault::Invalid {
                value: value.to_owned(),
                allowed: "kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev, ebb.dev or another autoscaler's class",
            }),
            other => Ok(Self::Other(other.into())),
        }
    }

    /// True when this crate's decision is the one that counts.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Kpa | Self::Ebb)
    }

    /// The metric of a workload that names none.
    pub(crate) fn default_metric(&self) -> Metric {
        match self {
            Self::Hpa => Metric::Named("cpu".into()),
            Self::Kpa | Self::Ebb | Self::Other(_) => Metric::Concurrency,
        }
    }

    /// Reads a metric name, as far as this class restricts them.
    pub(crate) fn metric(&self, value: &str) -> Result<Metric, Fault> {
        match (self, value) {
            (_, "concurrency") => Ok(Metric::Concurrency),
            (_, "rps") => Ok(Metric::Rps),
            (Self::Kpa | Self::Ebb, _) => Err(Fault::Invalid {
                value: value.to_owned(),
                allowed: "concurrency or rps for this class",
            }),
            (Self::Hpa, "") => Err(Fault::Invalid {
                value: value.to_owned(),
                allowed: "cpu, memory or the name of a custom metric",
            }),
            (Self::Hpa | Self::Other(_), name) => Ok(Metric::Named(name.into())),
        }
    }
}

/// What is compared with the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Mean requests in flight.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
    /// A metric this crate does not decide on, e.g. `cpu`.
    Named(Box<str>),
}

/// How the samples of a window become one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The plain mean of the seconds.
    #[default]
    Linear,
    /// Newest second first, each further one weighing less.
    WeightedExponential,
}

impl Aggregation {
    /// Reads an algorithm's name; the empty one is the default.
    ///
    /// # Errors
    /// A name that Knative does not have.
    pub fn parse(value: &str) -> Result<Self, Fault> {
        match value {
            "" | "linear" => Ok(Self::Linear),
            "weighted-exponential" | "weightedExponential" => Ok(Self::WeightedExponential),
            _ => Err(Fault::Invalid {
                value: value.to_owned(),
                allowed: "linear or weighted-exponential",
            }),
        }
    }
}
