//! Metrics of the proxied Service ports, read from the pools at each scrape, and metrics of the reports.

use std::fmt;

use ebb_metrics::Format;
use ebb_proxy::{Budget, Reason};
use ebb_report_client::Sending;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use crate::listeners::{Listeners, Seen};

/// All metrics of the activator.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    sending: Sending,
}

impl Metrics {
    pub(crate) fn new(listeners: Listeners, budget: Budget) -> Self {
        let mut registry = Registry::with_prefix("ebb_activator");
        registry.register_collector(Box::new(Figures(listeners)));
        registry.register_collector(Box::new(Bytes(budget)));
        let sending = Sending::registered(
            &mut registry,
            "reported_ports",
            "Proxied Service ports in reports, by outcome at the autoscaler",
        );
        Self { registry, sending }
    }

    pub(crate) fn sending(&self) -> Sending {
        self.sending.clone()
    }

    pub(crate) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        format.encode(&self.registry)
    }
}

/// The metrics of the memory used for clients and of its limit, in bytes.
#[derive(Debug)]
struct Bytes(Budget);

impl Collector for Bytes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, bytes) in [
            (
                "client_bytes",
                "Memory for clients in use: connections, request heads, and bodies that wait to be sent",
                self.0.used(),
            ),
            (
                "client_bytes_limit",
                "Limit of the memory for clients, over all Services (--queue-bytes)",
                self.0.most(),
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&(bytes as f64))?;
        }
        Ok(())
    }
}

struct Figures(Listeners);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Door {
    namespace: String,
    service: String,
    port: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    namespace: String,
    service: String,
    port: String,
    reason: String,
}

/// Name, help text and value of a metric.
type Figure = (&'static str, &'static str, fn(&Seen) -> f64);

const GAUGES: &[Figure] = &[
    ("queued_requests", "Requests that are queued", |seen| {
        seen.pool.held().now as f64
    }),
    ("requests_in_flight", "Requests in flight at pods", |seen| {
        seen.pool.all_in_flight() as f64
    }),
    (
        "in_path",
        "1 if the EndpointSlice of the Service names this activator",
        |seen| f64::from(u8::from(seen.in_path)),
    ),
];

const COUNTERS: &[Figure] = &[
    ("queued", "Requests that were queued", |seen| {
        seen.pool.held().total as f64
    }),
    (
        "queued_seconds",
        "Sum of the times that requests were queued",
        |seen| seen.pool.held().integral.as_secs_f64(),
    ),
    ("answered", "Requests that pods answered", |seen| {
        seen.pool.counts().answered as f64
    }),
    (
        "retried",
        "Requests that were sent again, because the connection ended without an answer",
        |seen| seen.pool.counts().resent as f64,
    ),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let listeners = self.0.seen();
        let labels: Vec<_> = listeners.iter().map(labels).collect();
        for (name, help, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (seen, labels) in listeners.iter().zip(&labels) {
                metric.encode_family(labels)?.encode_gauge(&value(seen))?;
            }
        }
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (seen, labels) in listeners.iter().zip(&labels) {
                let mut family = metric.encode_family(labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&value(seen), None)?;
            }
        }
        let help = "Time that the first request of a cold start was queued, until there was a pod";
        let kind = MetricType::Histogram;
        let mut metric = encoder.encode_descriptor("cold_start_seconds", help, None, kind)?;
        for (seen, labels) in listeners.iter().zip(&labels) {
            let cold = seen.pool.cold_starts();
            let buckets: Vec<_> = cold.buckets().collect();
            let (sum, count) = (cold.time.as_secs_f64(), cold.count);
            metric
                .encode_family(labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        let help = "Requests that the activator refused, by reason";
        let mut metric = encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
        for (seen, labels) in listeners.iter().zip(&labels) {
            for &reason in Reason::ALL {
                let Door {
                    namespace,
                    service,
                    port,
                } = labels.clone();
                let labels = Refused {
                    namespace,
                    service,
                    port,
                    reason: reason.label().to_owned(),
                };
                let count = seen.pool.counts().refused(reason) as f64;
                let mut family = metric.encode_family(&labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}

fn labels(seen: &Seen) -> Door {
    Door {
        namespace: seen.key.service.namespace.clone(),
        service: seen.key.service.name.clone(),
        port: seen.key.port.clone(),
    }
}
