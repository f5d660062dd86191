//! How the agent itself stands, when it is asked.

use std::{fmt, sync::PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use super::{Shown, Standing};

#[derive(Debug)]
pub(super) struct State(pub(super) Shown);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Happened {
    event: &'static str,
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A gauge and no `info`: the older text format has no such type.
        let version = env!("CARGO_PKG_VERSION");
        encoder
            .encode_descriptor("build_info", "The program", None, MetricType::Gauge)?
            .encode_family(&Version { version })?
            .encode_gauge(&1u64)?;
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gauge = |name, help, value: u64| {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)
        };
        let (counts, pinned, adoption, lack) = match &view.standing {
            Standing::Loading => (false, false, None, None),
            Standing::Counts { pinned, adoption } => (true, *pinned, Some(adoption), None),
            Standing::Lacks(reason, _) => (false, false, None, Some(*reason)),
        };
        gauge(
            "counting",
            "Whether requests are counted on this node",
            counts.into(),
        )?;
        gauge(
            "pinned",
            "Whether counting goes on while no agent runs",
            pinned.into(),
        )?;
        gauge(
            "synced",
            "Whether the pods of the node are known",
            view.synced.into(),
        )?;
        let number = |number: Option<usize>| number.unwrap_or_default() as u64;
        gauge(
            "adopted_pods",
            "Pods whose counting the agent took over when it started",
            number(adoption.map(|adoption| adoption.adopted)),
        )?;
        gauge(
            "exchanged_programs",
            "Programs that the agent exchanged in place when it started",
            number(adoption.map(|adoption| adoption.exchanged)),
        )?;
        gauge(
            "replaced_layouts",
            "Layouts of pins that the agent could not take over when it started",
            number(adoption.map(|adoption| adoption.layouts.len() + usize::from(adoption.halfway))),
        )?;
        let help = "Why requests cannot be counted on this node; no sample where they are";
        let mut metric = encoder.encode_descriptor("lack", help, None, MetricType::Gauge)?;
        if let Some(reason) = lack {
            metric.encode_family(&For { reason })?.encode_gauge(&1u64)?;
        }
        let help = "Pods of the node that opted in";
        let mut metric = encoder.encode_descriptor("pods", help, None, MetricType::Gauge)?;
        for (state, pods) in [
            ("counted", view.tally.counted),
            ("waiting", view.tally.waiting),
            ("refused", view.tally.refused),
        ] {
            let pods = pods as u64;
            metric
                .encode_family(&InState { state })?
                .encode_gauge(&pods)?;
        }
        let help =
            "What rarely happens in the kernel: connections that could not be read or counted";
        let mut metric =
            encoder.encode_descriptor("kernel_events", help, None, MetricType::Counter)?;
        for (event, count) in [
            ("unreadable", view.events.unreadable),
            ("not_joined", view.events.not_joined),
            ("no_room", view.events.no_room),
            ("no_share", view.events.no_share),
            ("missed", view.events.missed),
            ("no_storage", view.events.no_storage),
        ] {
            metric
                .encode_family(&Happened { event })?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Figures of a pod that could not be read";
        encoder
            .encode_descriptor("missed_readings", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&view.missed, None)
    }
}
