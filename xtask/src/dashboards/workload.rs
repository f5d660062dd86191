//! The dashboard of one workload: its concurrency and target, its replicas, and the responses to its clients.

use serde_json::Value;

use super::{Dashboard, annotation, link, panel::Panel, variable};

/// Label selector for the workload in metrics of the autoscaler.
const CHOSEN: &str = "namespace=\"$namespace\", kind=\"$kind\", name=\"$name\"";
/// Label selector for the pods of the same workload in metrics of the agents.
const ITS_PODS: &str = "namespace=\"$namespace\", workload_kind=\"$kind\", workload=\"$name\"";
/// Label selector for the selected Services in the activators' metrics of proxied ports.
const ITS_PORTS: &str = "namespace=\"$namespace\", service=~\"$service\"";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "ebb-workload",
        title: "Ebb / workload",
        description: "One workload that Ebb scales.",
        variables: variables(),
        annotations: vec![
            annotation("Scaled up", "green", &scaled("> 0"), "scaled up"),
            annotation("Scaled down", "blue", &scaled("< 0"), "scaled down"),
        ],
        links: vec![link("All workloads", "ebb-overview")],
        rows: vec![
            ("Now", now()),
            ("Reasons for the number of replicas", scaling()),
            ("What its clients see", clients()),
            ("Its pods", pods()),
            ("The activator, at zero and in a burst", activator()),
        ],
    }
}

fn variables() -> Vec<Value> {
    let workload = |label: &str, matching: &str| {
        format!("label_values(ebb_workload_requested_replicas{{{matching}}}, {label})")
    };
    vec![
        variable("namespace", "Namespace", &workload("namespace", ""), false),
        variable(
            "kind",
            "Kind",
            &workload("kind", "namespace=\"$namespace\""),
            false,
        ),
        variable(
            "name",
            "Name",
            &workload("name", "namespace=\"$namespace\", kind=\"$kind\""),
            false,
        ),
        variable(
            "service",
            "Service",
            "label_values(ebb_activator_in_path{namespace=\"$namespace\"}, service)",
            true,
        ),
    ]
}

/// Returns a query for a metric of the workload. Every replica of the autoscaler exports the metric, so the query takes
/// the maximum over the replicas.
fn one(metric: &str) -> String {
    format!("max(ebb_workload_{metric}{{{CHOSEN}}})")
}

/// Returns a PromQL query that has a value when the number of requested replicas differs from the number 15 s (one
/// scrape interval) earlier. `how` is `> 0` for an increase, `< 0` for a decrease.
fn scaled(how: &str) -> String {
    format!(
        "max(ebb_workload_requested_replicas{{{CHOSEN}}}) - max(ebb_workload_requested_replicas{{{CHOSEN}}} offset 15s) {how}"
    )
}

fn now() -> Vec<Panel> {
    let number =
        |title, description, metric: &str| Panel::number(title, "short", description, &one(metric));
    vec![
        number("Requested", "Requested replicas.", "requested_replicas"),
        number("Ready", "Ready replicas.", "ready_replicas"),
        number("Desired", "Desired replicas, within min-scale and max-scale.", "desired_replicas"),
        number(
            "Concurrency",
            "Requests in flight, from the last reports of the pods of the workload.",
            "requests_in_flight",
        ),
        number(
            "Target per pod",
            "Target concurrency, or requests per second, of each pod.",
            "target_per_pod",
        ),
        number(
            "Excess burst capacity",
            "Capacity of the ready pods, less concurrency and target-burst-capacity. Below zero the activator joins the request path.",
            "excess_burst_capacity",
        ),
        number(
            "Pods without metrics",
            "Pods that may be serving and have no current metrics.",
            "pods_without_metrics",
        )
        .bad_above(1.0),
        number(
            "Not scaled",
            "1 if the workload is not scaled: invalid configuration, or a conflicting autoscaler. Events on the workload say which.",
            "not_scaled",
        )
        .bad_above(1.0),
    ]
}

fn scaling() -> Vec<Panel> {
    let capacity = format!("{} * {}", one("target_per_pod"), one("ready_replicas"));
    let concurrency =
        format!("sum(rate(ebb_pod_in_flight_seconds_total{{{ITS_PODS}}}[$__rate_interval]))");
    vec![
        Panel::lines(
            "Averages against capacity",
            "short",
            "Capacity of the ready pods at target (dashed), and the averages that are compared with it. Shaded: panic mode.",
        )
        .query("stable window", &one("stable_average"))
        .query("panic window", &one("panic_average"))
        .query("exact mean concurrency", &concurrency)
        .query("capacity at target", &capacity)
        .query("panic mode", &one("panic_mode"))
        .dashed("capacity at target")
        .shaded("panic mode", "red")
        .wide(12),
        Panel::lines(
            "Replicas",
            "short",
            "Desired (dashed), requested and ready replicas. Shaded: panic mode.",
        )
        .query("desired", &one("desired_replicas"))
        .query("requested", &one("requested_replicas"))
        .query("ready", &one("ready_replicas"))
        .query("panic mode", &one("panic_mode"))
        .dashed("desired")
        .shaded("panic mode", "red")
        .wide(12),
    ]
}

fn clients() -> Vec<Panel> {
    let quantile = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (le) (rate(ebb_pod_request_duration_seconds_bucket{{{ITS_PODS}}}[$__rate_interval])))"
        )
    };
    vec![
        Panel::lines("Responses", "reqps", "Responses of the pods of the workload, by status class.")
            .query(
                "{{class}}",
                &format!(
                    "sum by (class) (rate(ebb_pod_responses_total{{{ITS_PODS}}}[$__rate_interval]))"
                ),
            )
            .stacked(),
        Panel::lines("Latency", "s", "Time that requests were in flight at the pods of the workload.")
            .query("median", &quantile("0.5"))
            .query("90 %", &quantile("0.9"))
            .query("99 %", &quantile("0.99")),
        Panel::lines(
            "Aborted, excluded",
            "reqps",
            "Aborted: the connection ended before the response. Excluded: probes and excluded paths.",
        )
        .query(
            "aborted",
            &format!("sum(rate(ebb_pod_requests_aborted_total{{{ITS_PODS}}}[$__rate_interval]))"),
        )
        .query(
            "excluded",
            &format!("sum(rate(ebb_pod_requests_excluded_total{{{ITS_PODS}}}[$__rate_interval]))"),
        ),
    ]
}

fn pods() -> Vec<Panel> {
    vec![
        Panel::lines("Concurrency", "short", "Exact mean concurrency of each pod.")
            .query("{{pod}}", &format!("sum by (pod) (rate(ebb_pod_in_flight_seconds_total{{{ITS_PODS}}}[$__rate_interval]))")),
        Panel::lines("Protocols", "short", "Requests in flight, by protocol. Opaque: connections that cannot be read, one request each.")
            .query("{{protocol}}", &format!("sum by (protocol) (ebb_pod_requests_in_flight{{{ITS_PODS}}})"))
            .stacked(),
        Panel::lines("Connections", "short", "Open connections of each pod.")
            .query("{{pod}}", &format!("sum by (pod) (ebb_pod_connections{{{ITS_PODS}}})")),
    ]
}

fn activator() -> Vec<Panel> {
    vec![
        Panel::lines("Queued requests", "short", "Requests that wait for a pod. Shaded: an activator is in the request path.")
            .query("queued", &format!("sum(ebb_activator_queued_requests{{{ITS_PORTS}}})"))
            .query("activator in the request path", &format!("max(ebb_activator_in_path{{{ITS_PORTS}}})"))
            .shaded("activator in the request path", "orange"),
        Panel::lines("Time in the queue", "s", "Mean: mean time of all queued requests. Cold start, 90 %: nine of ten first requests at zero pods waited at most this time.")
            .query("mean", &format!("sum(increase(ebb_activator_queued_seconds_total{{{ITS_PORTS}}}[$__range])) / (sum(increase(ebb_activator_queued_total{{{ITS_PORTS}}}[$__range])) > 0)"))
            .query("cold start, 90 %", &format!("histogram_quantile(0.9, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket{{{ITS_PORTS}}}[$__range])))")),
        Panel::lines("Answered, refused", "reqps", "Requests that went through the activators.")
            .query("answered by pods", &format!("sum(rate(ebb_activator_answered_total{{{ITS_PORTS}}}[$__rate_interval]))"))
            .query("refused: {{reason}}", &format!("sum by (reason) (rate(ebb_activator_refused_total{{{ITS_PORTS}}}[$__rate_interval]))")),
    ]
}
