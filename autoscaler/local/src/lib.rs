//! Runs the engine of the cluster's autoscaler for one workload on one host without Kubernetes. `ebb run` uses this
//! crate.
//!
//! For the engine, the run is a Deployment, each replica of the run is a pod, and the proxy of the run is an activator
//! that is always in the request path. [`run`](Autoscaler::run) passes the facts from the host to the engine, and
//! carries out the engine's orders. Three traits are the interface to the host: [`LoadSource`], [`ScaleTarget`] and
//! [`Observer`].
//!
//! Bias: missing data does not count as zero. While the load cannot be read, the workload is not scaled down. A change
//! of replicas that failed is tried again after the next decision.

mod host;
mod run;
mod totals;

pub use ebb_engine::Clock;
pub use host::{
    Load, LoadSource, ObservedDecision, Observer, Phase, Queue, ReplicaLoad, ScaleTarget,
};
pub use run::{Autoscaler, Run, SharedEngine};
