//! Metrics of the agent itself, read at each scrape.

use std::{fmt, sync::PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use super::{CountingStatus, SharedView};

#[derive(Debug)]
pub(super) struct NodeState(pub(super) SharedView);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

impl Collector for NodeState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // The version is a gauge, because the older text format does not have the metric type `info`.
        let version = env!("CARGO_PKG_VERSION");
        encoder
            .encode_descriptor(
                "build_info",
                "Version of the program",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&Version { version })?
            .encode_gauge(&1u64)?;
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauge = |name, help, value: u64| {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)
        };
        let (counts, pinned, adoption, reason) = match &view.status {
            CountingStatus::Loading => (false, false, None, None),
            CountingStatus::Counting { pinned, adoption } => (true, *pinned, Some(adoption), None),
            CountingStatus::Unavailable(reason, _) => (false, false, None, Some(*reason)),
        };
        gauge(
            "counting",
            "1 if requests are counted on this node",
            counts.into(),
        )?;
        gauge(
            "pinned",
            "1 if counting continues while no agent runs",
            pinned.into(),
        )?;
        gauge(
            "synced",
            "1 if the agent has listed the pods of the node",
            view.synced.into(),
        )?;
        let number = |number: Option<usize>| number.unwrap_or_default() as u64;
        gauge(
            "adopted_pods",
            "Pods whose counters the agent took over at its start",
            number(adoption.map(|adoption| adoption.adopted)),
        )?;
        gauge(
            "replaced_programs",
            "Attached kernel programs that the agent replaced at its start",
            number(adoption.map(|adoption| adoption.exchanged)),
        )?;
        gauge(
            "discarded_pin_layouts",
            "Layouts of pinned maps that the agent could not take over at its start",
            number(adoption.map(|adoption| adoption.layouts.len() + usize::from(adoption.halfway))),
        )?;
        let help = "1 for the reason why no request is counted on this node; no sample while requests are counted";
        let mut metric = encoder.encode_descriptor("unavailable", help, None, MetricType::Gauge)?;
        if let Some(reason) = reason {
            metric
                .encode_family(&ReasonLabel { reason })?
                .encode_gauge(&1u64)?;
        }
        let help = "Pods of the node that opted in, by state";
        let mut metric = encoder.encode_descriptor("pods", help, None, MetricType::Gauge)?;
        for (state, pods) in [
            ("counted", view.pod_counts.counted),
            ("waiting", view.pod_counts.waiting),
            ("rejected", view.pod_counts.rejected),
        ] {
            let pods = pods as u64;
            metric
                .encode_family(&StateLabel { state })?
                .encode_gauge(&pods)?;
        }
        let help = "Connections that the kernel programs could not read or store, or could read again, by event";
        let mut metric =
            encoder.encode_descriptor("kernel_events", help, None, MetricType::Counter)?;
        for (event, count) in view.events.by_kind() {
            metric
                .encode_family(&EventLabel { event })?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Readings of counters that failed";
        encoder
            .encode_descriptor("missed_readings", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&view.missed, None)
    }
}
