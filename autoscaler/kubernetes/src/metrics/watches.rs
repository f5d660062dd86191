//! The age of each watch: the time since its last sign of life.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::MetricType,
};

use crate::shared::Shared;

#[derive(Debug)]
pub(super) struct Ages(pub(super) Arc<Shared>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
}

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "autoscaler_watch_age_seconds",
            "Time since the last message of the watch on objects of this kind; up to 15 s is normal",
            None,
            MetricType::Gauge,
        )?;
        for (kind, age) in self.0.watches.ages() {
            let labels = Labels { kind: kind.into() };
            let mut sample = metric.encode_family(&labels)?;
            sample.encode_gauge(&age.as_secs_f64())?;
        }
        Ok(())
    }
}
