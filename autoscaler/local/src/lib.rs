//! The engine of the cluster's autoscaler, for one workload on one host without Kubernetes. `ebb run` uses it.
//!
//! The run stands for a Deployment, each of its replicas for a pod, and its proxy for an activator that is always in
//! the request path. [`run`](Autoscaler::run) tells the engine what the host reports and carries out its orders. The
//! host is behind three traits: [`LoadSource`], [`ScaleTarget`] and [`Observer`].
//!
//! Bias: no data is not zero. While the load cannot be read, the workload may grow and does not shrink. A change of
//! replicas that failed is tried again with the next decision.

mod host;
mod run;
mod totals;

pub use ebb_engine::Clock;
pub use host::{Decided, Load, LoadSource, Observer, Phase, Queue, ReplicaLoad, ScaleTarget};
pub use run::{Autoscaler, Run, SharedEngine};
