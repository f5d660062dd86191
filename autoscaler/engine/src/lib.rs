//! The engine: the state of all workloads of a cluster. Its input is facts and reports; its output is scale orders and
//! Events.
//!
//! The engine does no I/O, reads no clock and starts no task. The caller passes each fact together with the current
//! time, and takes the resulting actions as [`Effect`]s. One engine behind one lock holds all workloads, because one
//! report covers about thirty pods. Ten thousand separate loops, one for each workload, would mostly wake up without
//! work. A cluster's autoscaler and `ebb run` use the same engine.
//!
//! Bias: missing data does not count as zero load. A pod that may be serving requests and has no current metrics keeps
//! its last measurements, and its workload is not scaled down.

mod clock;
mod counted_at;
mod decide;
mod decision_counts;
mod effect;
mod engine;
mod freshness;
mod limit;
mod names;
mod opt_out;
mod outbox;
mod owners;
mod ownership;
mod pod;
mod pods;
mod queueing;
mod reports;
mod routing;
mod scale_down_candidates;
mod sender;
mod series;
mod target;
mod unknown;
mod view;
mod workload_state;
mod workloads;

/// One workload, as the status page and the API show it.
pub use ebb_page_model::Workload as WorkloadView;

pub use self::{
    clock::Clock,
    decision_counts::DecisionCounts,
    effect::{DeletionCost, Effect, Notice, Order},
    engine::Engine,
    names::{Owner, TargetKey, WorkloadId},
    owners::{NoTargetReason, OwnerResolution},
    pod::PodFacts,
    queueing::Queueing,
    reports::Scope,
    routing::{
        DesiredSlice, ObservedSlice, Outcome, Path, RecordChange, RoutingFigures, ServiceFacts,
    },
    target::{TargetFacts, opted_in},
    unknown::Unknown,
    view::Figures,
};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
