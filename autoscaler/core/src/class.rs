//! The class of a workload (the autoscaler that scales it), the metric for the decisions, and how samples are averaged.
//!
//! Names are matched exactly and case-sensitively, as in Knative. A name that is only similar is an error and is never
//! corrected.

use crate::problem::Fault;

/// The autoscaler of the workload: the `autoscaling.knative.dev/class` annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// `kpa.autoscaling.knative.dev`: Knative's algorithm, unchanged.
    #[default]
    Kpa,
    /// `hpa.autoscaling.knative.dev`: a HorizontalPodAutoscaler that Knative creates for the workload.
    Hpa,
    /// `ebb.dev`: Knative's algorithm, plus the burst window.
    Ebb,
    /// The class of another autoscaler: Ebb does not scale the workload.
    Other(Box<str>),
}

impl Class {
    /// Parses a class name.
    ///
    /// # Errors
    /// If the name ends with `.knative.dev` and is not one of Knative's two classes.
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

    /// Returns whether this crate decides for workloads of this class.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Kpa | Self::Ebb)
    }

    /// Returns the metric of a workload that names no metric.
    pub(crate) fn default_metric(&self) -> Metric {
        match self {
            Self::Hpa => Metric::Named("cpu".into()),
            Self::Kpa | Self::Ebb | Self::Other(_) => Metric::Concurrency,
        }
    }

    /// Parses the name of a metric, and checks that this class allows it.
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

/// The metric that is compared with the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Mean number of requests in flight.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
    /// A metric for which this crate makes no decisions, for example `cpu`.
    Named(Box<str>),
}

/// How the samples of a window are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The plain mean over the seconds.
    #[default]
    Linear,
    /// A weighted mean: the newest second has the highest weight, and the weight falls exponentially with age.
    WeightedExponential,
}

impl Aggregation {
    /// Parses an algorithm's name; an empty name is the default.
    ///
    /// # Errors
    /// If Knative does not know the name.
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
