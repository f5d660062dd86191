//! A workload's figures, read from the engine when they are asked for.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use ebb_page::Workload;

use crate::cluster::{page::views, shared::Shared};

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

/// Name, help and value of one gauge; no value, no sample.
type Gauge = (&'static str, &'static str, fn(&Workload) -> Option<f64>);

const GAUGES: &[Gauge] = &[
    (
        "workload_replicas",
        "Pods the workload is asked to have",
        |view| Some(view.replicas.into()),
    ),
    (
        "workload_ready_pods",
        "Pods that can take requests",
        |view| view.ready.map(Into::into),
    ),
    (
        "workload_desired_pods",
        "Pods wanted, bounds included",
        |view| view.desired.map(Into::into),
    ),
    (
        "workload_stable_load",
        "Average over the stable window, of what the workload scales on (requests in flight, or a second)",
        |view| view.stable,
    ),
    (
        "workload_panic_load",
        "Average over the panic window, of what the workload scales on",
        |view| view.panic,
    ),
    (
        "workload_target_load",
        "Load a pod is meant to carry",
        |view| view.target,
    ),
    (
        "workload_panicking",
        "Whether a burst keeps the workload from shrinking",
        |view| Some(u8::from(view.panic_mode).into()),
    ),
    (
        "workload_excess_burst_capacity",
        "Requests in flight there is room for beyond load and reserve; below zero an activator belongs in the path",
        |view| view.excess_burst_capacity.map(Into::into),
    ),
    (
        "workload_requests_in_flight",
        "Requests in flight when the pods were last heard of",
        |view| Some(view.in_flight as f64),
    ),
    (
        "workload_opaque_connections",
        "Connections in flight whose bytes cannot be read",
        |view| Some(view.opaque as f64),
    ),
    (
        "workload_requests_held",
        "Requests that wait for a pod, at activators",
        |view| Some(view.held as f64),
    ),
    (
        "workload_in_path",
        "Whether activators are to be in the workload's path",
        |view| Some(u8::from(view.in_path).into()),
    ),
    (
        "workload_silent_pods",
        "Pods that may be serving and are not heard of",
        |view| Some(view.silent_pods as f64),
    ),
    (
        "workload_refused",
        "Whether the workload is not scaled, for a reason its Events tell",
        |view| Some(u8::from(view.refused.is_some()).into()),
    ),
];

impl Collector for Workloads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (figures, fronts) = self
            .0
            .with(|engine, now| (engine.figures(now), engine.front_figures()));
        let mut views = views(&self.0);
        // Somebody scaled them to zero, and Ebb leaves them alone: thousands of them must not make every scrape long.
        views.retain(|view| view.mode != "paused");
        for (name, help, value) in [
            ("autoscaler_workloads", "Workloads known", figures.workloads),
            (
                "autoscaler_workloads_beyond_limit",
                "Workloads that are not scaled, because their namespace has too many",
                figures.beyond_limit,
            ),
            ("autoscaler_pods", "Pods known", figures.pods),
            (
                "autoscaler_report_senders",
                "Agents and other sources heard of in the last hour",
                figures.senders,
            ),
            (
                "autoscaler_report_senders_silent",
                "Of these, those that are silent",
                figures.silent_senders,
            ),
            (
                "autoscaler_activators",
                "Activators heard of",
                figures.activators,
            ),
            (
                "autoscaler_activators_silent",
                "Activators that were heard of in the last hour and are silent",
                figures.silent_activators,
            ),
            (
                "autoscaler_proxied_services",
                "Services that have ports on the activators",
                fronts.proxied_services,
            ),
            (
                "autoscaler_short_services",
                "Services that have not got all the ports they need; an Event PortLimit says why",
                fronts.short_services,
            ),
            (
                "autoscaler_foreign_slices",
                "EndpointSlices that claim to be Ebb's and are ignored; an Event ForeignSlice tells of them",
                fronts.foreign_slices,
            ),
            (
                "autoscaler_senseless_records",
                "Services whose record of ports cannot be read; the log names them",
                fronts.senseless_records,
            ),
            (
                "autoscaler_refused_slices",
                "EndpointSlices that cannot be written or removed; an Event SliceRefused says why",
                fronts.refused_slices,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&(value as f64))?;
        }
        let help =
            "The most that the last report of a sender came later than its least delayed one";
        encoder
            .encode_descriptor(
                "autoscaler_report_lag_seconds",
                help,
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&figures.lag.as_secs_f64())?;
        let help = "Decisions, by what they rest on";
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
        let help = "1 while something is not known that keeps the workload from shrinking, by what that is";
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
