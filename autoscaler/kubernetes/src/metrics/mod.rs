//! Metrics for Prometheus.
//!
//! Label values are bounded: by the objects in the cluster (namespace, kind and name of a workload) and by the
//! constants below. Metrics of workloads are read from the engine at each scrape, so there are no metrics of a workload
//! that is gone.

mod watches;
mod workloads;

use std::{fmt, sync::Arc, time::Duration};

use ebb_contract::Receipt;
use ebb_metrics::Format;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{leadership::Leadership, shared::Shared};

/// All metrics of the autoscaler.
pub(super) struct Metrics {
    registry: Registry,
    reports: Family<Outcome, Counter>,
    reported_pods: Family<Outcome, Counter>,
    rejected_connections: Counter,
    ingest: Histogram,
    writes: Family<Outcome, Counter>,
    dropped_events: Counter,
    leading: Gauge,
}

/// Outcomes of reports whose counters are exported from the start, even if they are zero.
const REPORTS: [&str; 6] = [
    "accepted",
    "bad_token",
    "forbidden",
    "unchecked",
    "unreadable",
    "broken",
];
/// Outcomes of scale writes. Their counters are exported from the start.
const WRITES: [&str; 4] = ["done", "failed", "dropped", "conflict"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    pub(super) fn new(shared: &Arc<Shared>, leadership: &Leadership) -> Arc<Self> {
        let mut all = Registry::with_prefix("ebb");
        all.register_collector(Box::new(workloads::Workloads(Arc::clone(shared))));
        all.register_collector(Box::new(watches::Ages(Arc::clone(shared))));
        let registry = all.sub_registry_with_prefix("autoscaler");
        let metrics = Self {
            reports: Family::default(),
            reported_pods: Family::default(),
            rejected_connections: Counter::default(),
            // The bucket limits of the histogram range from 20 µs (a report of a few pods) to 80 ms.
            ingest: Histogram::new(exponential_buckets(20e-6, 4.0, 7)),
            writes: Family::default(),
            dropped_events: Counter::default(),
            leading: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("reports", "Reports, by outcome", metrics.reports.clone());
        registry.register(
            "reported_pods",
            "Pods in reports, by outcome",
            metrics.reported_pods.clone(),
        );
        registry.register(
            "report_connections_rejected",
            "Connections to the report port that were rejected, because too many were open",
            metrics.rejected_connections.clone(),
        );
        registry.register(
            "report_ingest_seconds",
            "Time to record a complete report, with the decisions that it caused",
            metrics.ingest.clone(),
        );
        registry.register(
            "scale_writes",
            "Scale writes, by outcome",
            metrics.writes.clone(),
        );
        registry.register(
            "dropped_writes",
            "Writes to the API server that were not sent, because this replica was no longer the leader",
            leadership.dropped(),
        );
        registry.register(
            "dropped_events",
            "Events that were not written, because one namespace had too many of them",
            metrics.dropped_events.clone(),
        );
        registry.register(
            "leader",
            "1 if this replica is the leader",
            metrics.leading.clone(),
        );
        // Each counter is exported from the start, so that Prometheus sees its first count as an increase.
        for outcome in REPORTS {
            count(&metrics.reports, outcome, 0);
        }
        for outcome in WRITES {
            count(&metrics.writes, outcome, 0);
        }
        Arc::new(Self {
            registry: all,
            ..metrics
        })
    }

    pub(super) fn reported(&self, receipt: Receipt, took: Duration) {
        count(&self.reports, "accepted", 1);
        self.ingest.observe(took.as_secs_f64());
        for (outcome, pods) in receipt.outcomes() {
            count(&self.reported_pods, outcome, pods);
        }
    }

    /// Counts a rejected report. `why` is the outcome, one of a fixed set of words.
    pub(super) fn refused(&self, why: &'static str) {
        count(&self.reports, why, 1);
    }

    pub(super) fn rejected_connection(&self) {
        self.rejected_connections.inc();
    }

    /// Counts a scale write. `outcome` is one of [`WRITES`].
    pub(super) fn wrote(&self, outcome: &'static str) {
        count(&self.writes, outcome, 1);
    }

    /// Returns the counter of Events that were not written.
    pub(super) fn dropped_events(&self) -> Counter {
        self.dropped_events.clone()
    }

    pub(super) fn leads(&self, leading: bool) {
        self.leading.set(leading.into());
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    pub(super) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        format.encode(&self.registry)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn count(family: &Family<Outcome, Counter>, outcome: &'static str, by: u64) {
    family.get_or_create(&Outcome { outcome }).inc_by(by);
}
