//! How requests reach a workload: directly at its pods, or through the activators.
//!
//! The inputs are the Services that lead to the workload, the written records and slices, and the reports of the
//! activators. The results are the records and slices to write, and whether the last pod may be removed. Every replica
//! keeps this state; only the leader has anything written.
//!
//! The record in Ebb's own namespace is authoritative. What a tenant can write (Services, slices, labels) redirects
//! only that tenant's own requests.
//!
//! Bias: a workload has no pod only if the activators can queue every request to it, and have been in the request path
//! for the grace period. Failure mode: activators without a current report are removed from the path, and without any
//! activator the last pod stays.

mod activator;
mod activator_reports;
mod backoff;
mod endpoint_readiness;
mod event_limit;
mod foreign_slices;
mod listening_time;
mod namespace_record;
mod namespace_routing;
mod path;
mod plan;
mod port_numbers;
mod reconcile;
mod route;
mod service;
mod service_routing;
mod slice;
mod zero;

pub(super) use self::service_routing::ServiceRouting;
pub use self::{
    namespace_record::RecordChange,
    path::{Outcome, Path},
    service::ServiceFacts,
    service_routing::RoutingFigures,
    slice::{DesiredSlice, ObservedSlice},
};

#[cfg(test)]
mod tests;
