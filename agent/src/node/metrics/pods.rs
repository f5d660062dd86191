//! Metrics of the node's pods.

use std::{fmt, sync::PoisonError};

use ebb_abi::latency::lower;
use ebb_agent::Reading;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use super::SharedView;
use crate::node::counting::PodReading;

#[derive(Debug)]
pub(super) struct Pods(pub(super) SharedView);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    pod: String,
    workload_kind: String,
    workload: String,
}

impl Labels {
    fn of(pod: &PodReading) -> Self {
        let spec = &pod.spec;
        Self {
            namespace: spec.namespace.clone(),
            pod: spec.name.clone(),
            workload_kind: spec.workload.0.clone(),
            workload: spec.workload.1.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

/// The values are words of the agent: the hops, and the names of the known sidecars.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HopLabels {
    hop: String,
    reason: String,
}

/// Name, help and value of one counter metric.
type Number = (&'static str, &'static str, fn(&Reading) -> f64);

const COUNTERS: &[Number] = &[
    (
        "pod_requests",
        "Requests started, without probes and excluded paths",
        |reading| reading.started as f64,
    ),
    (
        "pod_requests_aborted",
        "Requests whose connection ended before the response",
        |reading| reading.aborted as f64,
    ),
    (
        "pod_requests_excluded",
        "Probes, and requests to excluded paths",
        |reading| reading.excluded as f64,
    ),
    (
        "pod_in_flight_seconds",
        "Time in flight, summed over all requests; its rate is the exact mean concurrency",
        // The counter wraps around at 2^64 ns, when the times in flight of all requests add up to 584 years.
        |reading| reading.integral as f64 / 1e9,
    ),
];

/// Upper bounds of the histogram's buckets, as indexes of the kernel's latency buckets. Each bound is
/// 2^n units of 1 024 ns, and four times the bound before it: from 1 ms to 17 s.
const BOUNDS: [usize; 8] = [36, 44, 52, 60, 68, 76, 84, 92];

impl Collector for Pods {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Always 1; the labels are the hop at which the requests of the pod are counted, and the reason";
        let mut metric = encoder.encode_descriptor("pod_hop", help, None, MetricType::Gauge)?;
        for pod in &view.readings {
            let counted_at = &pod.spec.counted_at;
            let labels = HopLabels {
                hop: counted_at.hop.to_string(),
                reason: counted_at.reason.to_string(),
            };
            metric
                .encode_family(&(Labels::of(pod), labels))?
                .encode_gauge(&1u64)?;
        }
        let pods: Vec<_> = view
            .readings
            .iter()
            .map(|pod| (Labels::of(pod), &pod.reading))
            .collect();
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (pod, reading) in &pods {
                let value = value(reading);
                metric
                    .encode_family(pod)?
                    .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        let help = "Responses, by status class";
        let mut metric =
            encoder.encode_descriptor("pod_responses", help, None, MetricType::Counter)?;
        for (pod, reading) in &pods {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            for (class, value) in classes.into_iter().zip(reading.status) {
                let labels = (pod.clone(), Class { class });
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        let help = "Requests in flight, by protocol; opaque: connections that cannot be read, one request each";
        let mut metric =
            encoder.encode_descriptor("pod_requests_in_flight", help, None, MetricType::Gauge)?;
        for (pod, reading) in &pods {
            for (protocol, value) in [
                ("http1", reading.http1()),
                ("http2", reading.http2),
                ("upgraded", reading.upgraded),
                ("opaque", reading.opaque),
            ] {
                let labels = (pod.clone(), Protocol { protocol });
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        let help = "Open connections";
        let mut metric =
            encoder.encode_descriptor("pod_connections", help, None, MetricType::Gauge)?;
        for (pod, reading) in &pods {
            metric
                .encode_family(pod)?
                .encode_gauge(&reading.connections)?;
        }
        let help =
            "Time that requests were in flight; the sum includes requests that are still in flight";
        let mut metric = encoder.encode_descriptor(
            "pod_request_duration_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        for (pod, reading) in &pods {
            let (count, buckets) = histogram(reading);
            let sum = reading.integral as f64 / 1e9;
            metric
                .encode_family(pod)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// Returns the total number of requests, and for each bucket its upper bound in seconds and its number of requests.
fn histogram(reading: &Reading) -> (u64, Vec<(f64, u64)>) {
    let mut from = 0;
    let mut buckets: Vec<_> = BOUNDS
        .iter()
        .map(|bound| {
            let requests = reading.latency.get(from..*bound).unwrap_or_default();
            from = *bound;
            (lower(*bound) as f64 / 1e9, requests.iter().sum())
        })
        .collect();
    let above = reading.latency.get(from..).unwrap_or_default();
    buckets.push((f64::INFINITY, above.iter().sum()));
    (reading.latency.iter().sum(), buckets)
}

#[cfg(test)]
mod tests {
    use ebb_abi::latency::bucket;

    use super::*;

    #[test]
    fn bounds_are_powers_of_four_of_a_millisecond() {
        let bounds = BOUNDS.map(|bound| lower(bound) as f64 / 1e9);
        for pair in bounds.windows(2) {
            assert_eq!(pair[1] / pair[0], 4.0, "{bounds:?}");
        }
        assert!((0.0009..0.0012).contains(&bounds[0]), "{bounds:?}");
    }

    #[test]
    fn every_request_is_in_one_bucket() {
        let mut reading = Reading::NOTHING;
        for nanoseconds in [1, 500_000, 20_000_000, 3_600_000_000_000] {
            reading.latency[bucket(nanoseconds)] += 1;
        }
        let (count, buckets) = histogram(&reading);
        assert_eq!(count, 4);
        let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 0, 0, 1, 0, 0, 0, 0, 1]);
    }
}
