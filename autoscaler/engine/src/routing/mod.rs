//! Routing of requests to a workload: directly to the pods, or through the activators.
//!
//! The inputs are the Services that route to the workload, the records of ports and EndpointSlices in the API server,
//! and the reports of the activators. The results are the records and EndpointSlices to write, and whether the last pod
//! may be removed. Every replica of the autoscaler keeps this state; only the leader writes to the API server.
//!
//! The record of ports in Ebb's own namespace is authoritative. The objects that a tenant can write (Services,
//! EndpointSlices, labels) can redirect only the requests of this tenant.
//!
//! Bias: a workload has no pod only if the activators can queue every request to the workload, and have been in the
//! request path for the grace period. Failure mode: activators without a current report are removed from the request
//! path. Without any activator, the last pod stays.

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
