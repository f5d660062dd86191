//! The autoscaler of a cluster: the [engine](ebb_engine), and the Kubernetes clients that connect it to the cluster.
//!
//! Watches supply the facts of the cluster, the report port supplies the metrics, and the writer carries out the
//! engine's orders to scale. Every replica receives facts and metrics and decides; only the replica that holds the
//! Lease writes.
//!
//! Failure mode: while the API server is unavailable, every workload keeps its replicas. Watches and the Lease are
//! retried without end, and reports are still received. A replica that may no longer be the leader writes nothing. Some
//! tasks must run as long as the program. If one of them ends, the program ends too.

mod allotments;
mod api;
mod boot;
mod certificate;
mod decisions;
mod effects;
mod events;
mod failure;
mod ingest;
mod kept_certificate;
mod kinds;
mod leadership;
mod lease;
mod metrics;
mod options;
mod owners;
mod page;
mod paths;
mod run;
mod shared;
mod slices;
mod start;
mod status;
mod sync;
#[cfg(test)]
mod testing;
mod watch;
mod writer;

pub use self::{failure::Failure, options::Options, run::run};
