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

use crate::listeners::{Listeners, PortSnapshot};

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
            "Proxied Service ports in reports, by the outcome that the autoscaler returned for them",
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
struct PortLabels {
    namespace: String,
    service: String,
    port: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    namespace: String,
    service: String,
    port: String,
    reason: String,
}

/// Name, help text and value of a metric.
type Figure = (&'static str, &'static str, fn(&PortSnapshot) -> f64);

const GAUGES: &[Figure] = &[
    ("queued_requests", "Requests that are queued", |port| {
        port.pool.queued().now as f64
    }),
    ("requests_in_flight", "Requests in flight at pods", |port| {
        port.pool.all_in_flight() as f64
    }),
    (
        "in_path",
        "1 if the EndpointSlice of the Service names this activator",
        |port| f64::from(u8::from(port.in_path)),
    ),
];

const COUNTERS: &[Figure] = &[
    ("queued", "Requests that were queued", |port| {
        port.pool.queued().total as f64
    }),
    (
        "queued_seconds",
        "Sum of the times that requests were queued",
        |port| port.pool.queued().integral.as_secs_f64(),
    ),
    ("answered", "Requests that pods answered", |port| {
        port.pool.counts().answered as f64
    }),
    (
        "retried",
        "Times that a request was sent to a pod again, because the first pod had not seen it, or because it is safe to repeat",
        |port| port.pool.counts().resent as f64,
    ),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let listeners = self.0.snapshot();
        let labels: Vec<_> = listeners.iter().map(labels).collect();
        for (name, help, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (port, labels) in listeners.iter().zip(&labels) {
                metric.encode_family(labels)?.encode_gauge(&value(port))?;
            }
        }
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (port, labels) in listeners.iter().zip(&labels) {
                let mut family = metric.encode_family(labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&value(port), None)?;
            }
        }
        let help = "Time that the first request of a cold start was queued, until there was a pod";
        let kind = MetricType::Histogram;
        let mut metric = encoder.encode_descriptor("cold_start_seconds", help, None, kind)?;
        for (port, labels) in listeners.iter().zip(&labels) {
            let cold = port.pool.cold_starts();
            let buckets: Vec<_> = cold.buckets().collect();
            let (sum, count) = (cold.time.as_secs_f64(), cold.count);
            metric
                .encode_family(labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        let help = "Requests that the activator refused, by reason";
        let mut metric = encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
        for (snapshot, labels) in listeners.iter().zip(&labels) {
            for &reason in Reason::ALL {
                let PortLabels {
                    namespace,
                    service,
                    port,
                } = labels.clone();
                let labels = RefusalLabels {
                    namespace,
                    service,
                    port,
                    reason: reason.label().to_owned(),
                };
                let count = snapshot.pool.counts().refused(reason) as f64;
                let mut family = metric.encode_family(&labels)?;
                family.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}

fn labels(port: &PortSnapshot) -> PortLabels {
    PortLabels {
        namespace: port.key.service.namespace.clone(),
        service: port.key.service.name.clone(),
        port: port.key.port.clone(),
    }
}
