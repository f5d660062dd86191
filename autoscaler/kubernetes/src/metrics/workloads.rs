//! Metrics of workloads, read from the engine at each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use ebb_page_model::Workload;

use crate::{page::measured_views, shared::Shared};

#[derive(Debug)]
pub(super) struct Workloads(pub(super) Arc<Shared>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    kind: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unknown {
    namespace: String,
    kind: String,
    name: String,
    what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// (name, help, value) of one gauge. A workload without a value has no sample.
type Gauge = (&'static str, &'static str, fn(&Workload) -> Option<f64>);

const GAUGES: &[Gauge] = &[
    (
        "workload_requested_replicas",
        "Requested replicas (spec.replicas)",
        |view| Some(view.requested_replicas.into()),
    ),
    ("workload_ready_replicas", "Ready replicas", |view| {
        view.ready_replicas.map(Into::into)
    }),
    (
        "workload_desired_replicas",
        "Desired replicas, within min-scale and max-scale",
        |view| view.desired_replicas.map(Into::into),
    ),
    (
        "workload_stable_average",
        "Average over the stable window of the metric that the workload is scaled on (concurrency, or requests per second)",
        |view| view.stable,
    ),
    (
        "workload_panic_average",
        "Average over the panic window of the metric that the workload is scaled on (concurrency, or requests per second)",
        |view| view.panic,
    ),
    (
        "workload_target_per_pod",
        "Target per pod, of the metric that the workload is scaled on (concurrency, or requests per second)",
        |view| view.target,
    ),
    (
        "workload_panic_mode",
        "1 in panic mode: because of a burst, the workload is not scaled down",
        |view| Some(u8::from(view.panic_mode).into()),
    ),
    (
        "workload_excess_burst_capacity",
        "Capacity of the ready pods, less concurrency and target-burst-capacity; below zero the activator joins the request path",
        |view| view.excess_burst_capacity.map(Into::into),
    ),
    (
        "workload_requests_in_flight",
        "Requests in flight, from the last reports of the pods",
        |view| Some(view.in_flight as f64),
    ),
    (
        "workload_opaque_connections",
        "Open connections that cannot be read; each counts as one request in flight",
        |view| Some(view.opaque as f64),
    ),
    (
        "workload_requests_queued",
        "Requests queued at activators, waiting for a pod",
        |view| Some(view.queued as f64),
    ),
    (
        "workload_activator_in_path",
        "1 if the activators should be in the request path of the workload",
        |view| Some(u8::from(view.activator_in_path).into()),
    ),
    (
        "workload_pods_without_metrics",
        "Pods that may be serving and have no current metrics",
        |view| Some(view.pods_without_metrics as f64),
    ),
    (
        "workload_not_scaled",
        "1 if the workload is not scaled: invalid configuration, or a conflicting autoscaler; its Events say which",
        |view| Some(u8::from(view.not_scaled.is_some()).into()),
    ),
];

impl Collector for Workloads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (figures, routing) = self
            .0
            .with(|engine, now| (engine.figures(now), engine.routing_figures()));
        let views = measured_views(&self.0);
        for (name, help, value) in [
            (
                "autoscaler_workloads",
                "Workloads that opted in",
                figures.workloads,
            ),
            (
                "autoscaler_workloads_beyond_limit",
                "Workloads that are not scaled, because their namespace has too many of them",
                figures.beyond_limit,
            ),
            ("autoscaler_pods", "Pods that opted in", figures.pods),
            (
                "autoscaler_report_senders",
                "Agents and other sources that reported in the last hour",
                figures.senders,
            ),
            (
                "autoscaler_report_senders_stale",
                "Agents and other sources that reported in the last hour, but no longer report",
                figures.stale_senders,
            ),
            (
                "autoscaler_activators",
                "Activators with a report in the last 3.5 s",
                figures.activators,
            ),
            (
                "autoscaler_activators_stale",
                "Activators that reported in the last hour, but not in the last 3.5 s",
                figures.stale_activators,
            ),
            (
                "autoscaler_proxied_services",
                "Services with ports on the activators",
                routing.proxied_services,
            ),
            (
                "autoscaler_port_limited_services",
                "Services with fewer ports on the activators than they need; an Event PortLimit says why",
                routing.short_services,
            ),
            (
                "autoscaler_foreign_slices",
                "EndpointSlices with Ebb's label that Ebb did not create and ignores; see Event ForeignSlice",
                routing.foreign_slices,
            ),
            (
                "autoscaler_invalid_port_records",
                "Services with an invalid record of activator ports; the log names them",
                routing.senseless_records,
            ),
            (
                "autoscaler_rejected_slices",
                "EndpointSlices that the API server did not accept or delete; an Event SliceRejected says why",
                routing.refused_slices,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&(value as f64))?;
        }
        let help = "Largest delay of a sender's latest report, compared with the sender's least delayed report";
        encoder
            .encode_descriptor(
                "autoscaler_report_lag_seconds",
                help,
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&figures.lag.as_secs_f64())?;
        let help = "Decisions, by their basis";
        let mut metric =
            encoder.encode_descriptor("autoscaler_decisions", help, None, MetricType::Counter)?;
        for (reason, count) in figures.decisions.iter() {
            metric
                .encode_family(&Reason { reason })?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let labels: Vec<_> = views
            .iter()
            .map(|view| Labels {
                namespace: view.namespace.clone(),
                kind: view.kind.clone(),
                name: view.name.clone(),
            })
            .collect();
        for (name, help, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (view, labels) in views.iter().zip(&labels) {
                if let Some(value) = value(view) {
                    metric.encode_family(labels)?.encode_gauge(&value)?;
                }
            }
        }
        let help =
            "1 while missing information prevents a scale-down of the workload, by what is missing";
        let mut metric =
            encoder.encode_descriptor("workload_unknown", help, None, MetricType::Gauge)?;
        for (view, labels) in views.iter().zip(&labels) {
            if let Some(unknown) = &view.unknown {
                let labels = Unknown {
                    namespace: labels.namespace.clone(),
                    kind: labels.kind.clone(),
                    name: labels.name.clone(),
                    what: unknown.what.to_string(),
                };
                metric.encode_family(&labels)?.encode_gauge(&1.0)?;
            }
        }
        Ok(())
    }
}
