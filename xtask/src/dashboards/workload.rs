//! One workload: its load against its target, its pods, and what its clients see.

use serde_json::Value;

use super::{Dashboard, annotation, link, panel::Panel, variable};

/// The workload, as the autoscaler names it.
const CHOSEN: &str = "namespace=\"$namespace\", kind=\"$kind\", name=\"$name\"";
/// The same as the agents name it.
const ITS_PODS: &str = "namespace=\"$namespace\", workload_kind=\"$kind\", workload=\"$name\"";
/// The doors of Services that may lead to it.
const ITS_DOORS: &str = "namespace=\"$namespace\", service=~\"$service\"";

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
            ("Why it has the pods it has", scaling()),
            ("What its clients see", clients()),
            ("Its pods", pods()),
            ("At zero and in a burst: the activator", activator()),
        ],
    }
}

fn variables() -> Vec<Value> {
    let workload = |label: &str, matching: &str| {
        format!("label_values(ebb_workload_replicas{{{matching}}}, {label})")
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

/// Every replica of the autoscaler tells of it: one series of them.
fn told(metric: &str) -> String {
    format!("max(ebb_workload_{metric}{{{CHOSEN}}})")
}

/// Where the number of pods is another than a scrape before.
fn scaled(how: &str) -> String {
    format!(
        "max(ebb_workload_replicas{{{CHOSEN}}}) - max(ebb_workload_replicas{{{CHOSEN}}} offset 15s) {how}"
    )
}

fn now() -> Vec<Panel> {
    let number = |title, description, metric: &str| {
        Panel::number(title, "short", description, &told(metric))
    };
    vec![
        number("Asked for", "Pods it is asked to have.", "replicas"),
        number("Ready", "Pods that can take requests.", "ready_pods"),
        number("Wanted", "Pods wanted, bounds included.", "desired_pods"),
        number(
            "In flight",
            "Requests in flight when its pods were last heard of.",
            "requests_in_flight",
        ),
        number(
            "Target a pod",
            "Load a pod is meant to carry.",
            "target_load",
        ),
        number(
            "Burst room",
            "Requests in flight there is room for beyond load and reserve; below zero an activator belongs in the path.",
            "excess_burst_capacity",
        ),
        number(
            "Silent pods",
            "Pods that may be serving and are not heard of.",
            "silent_pods",
        )
        .bad_above(1.0),
        number(
            "Refused",
            "Whether it is not scaled, for a reason that its Events tell.",
            "refused",
        )
        .bad_above(1.0),
    ]
}

fn scaling() -> Vec<Panel> {
    let capacity = format!("{} * {}", told("target_load"), told("ready_pods"));
    let concurrency =
        format!("sum(rate(ebb_pod_in_flight_seconds_total{{{ITS_PODS}}}[$__rate_interval]))");
    vec![
        Panel::lines(
            "Load against target",
            "short",
            "What the ready pods are meant to carry (dashed), and the averages that are held against it. Shaded: panic.",
        )
        .query("stable window", &told("stable_load"))
        .query("panic window", &told("panic_load"))
        .query("exact mean", &concurrency)
        .query("target", &capacity)
        .query("panic", &told("panicking"))
        .dashed("target")
        .shaded("panic", "red")
        .wide(12),
        Panel::lines(
            "Pods",
            "short",
            "Wanted (dashed), asked for and ready. Shaded: panic.",
        )
        .query("wanted", &told("desired_pods"))
        .query("asked for", &told("replicas"))
        .query("ready", &told("ready_pods"))
        .query("panic", &told("panicking"))
        .dashed("wanted")
        .shaded("panic", "red")
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
        Panel::lines("Responses", "reqps", "By class of status.")
            .query(
                "{{class}}",
                &format!(
                    "sum by (class) (rate(ebb_pod_responses_total{{{ITS_PODS}}}[$__rate_interval]))"
                ),
            )
            .stacked(),
        Panel::lines("Latency", "s", "Time in flight at the pods.")
            .query("half", &quantile("0.5"))
            .query("nine in ten", &quantile("0.9"))
            .query("99 in 100", &quantile("0.99")),
        Panel::lines(
            "Broken off, left out",
            "reqps",
            "Requests whose connection ended before their response did; probes and excluded paths.",
        )
        .query(
            "broken off",
            &format!("sum(rate(ebb_pod_requests_aborted_total{{{ITS_PODS}}}[$__rate_interval]))"),
        )
        .query(
            "left out",
            &format!("sum(rate(ebb_pod_requests_excluded_total{{{ITS_PODS}}}[$__rate_interval]))"),
        ),
    ]
}

fn pods() -> Vec<Panel> {
    vec![
        Panel::lines("Requests in flight", "short", "The exact mean, pod by pod.")
            .query("{{pod}}", &format!("sum by (pod) (rate(ebb_pod_in_flight_seconds_total{{{ITS_PODS}}}[$__rate_interval]))")),
        Panel::lines("What is spoken", "short", "Requests in flight by protocol; opaque ones are connections that cannot be read.")
            .query("{{protocol}}", &format!("sum by (protocol) (ebb_pod_requests_in_flight{{{ITS_PODS}}})"))
            .stacked(),
        Panel::lines("Connections", "short", "Open, pod by pod.")
            .query("{{pod}}", &format!("sum by (pod) (ebb_pod_connections{{{ITS_PODS}}})")),
    ]
}

fn activator() -> Vec<Panel> {
    vec![
        Panel::lines("Held", "short", "Requests that wait for a pod, and whether traffic is led to the activator.")
            .query("held", &format!("sum(ebb_activator_held_requests{{{ITS_DOORS}}})"))
            .query("in the path", &format!("max(ebb_activator_in_path{{{ITS_DOORS}}})"))
            .shaded("in the path", "orange"),
        Panel::lines("Waiting", "s", "Mean time that requests which waited did, and how long the first one did at zero pods.")
            .query("mean wait", &format!("sum(increase(ebb_activator_held_seconds_total{{{ITS_DOORS}}}[$__range])) / (sum(increase(ebb_activator_held_total{{{ITS_DOORS}}}[$__range])) > 0)"))
            .query("cold start, nine in ten", &format!("histogram_quantile(0.9, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket{{{ITS_DOORS}}}[$__range])))")),
        Panel::lines("Answered, refused", "reqps", "Requests that came by way of the activator.")
            .query("answered by pods", &format!("sum(rate(ebb_activator_answered_total{{{ITS_DOORS}}}[$__rate_interval]))"))
            .query("refused: {{reason}}", &format!("sum by (reason) (rate(ebb_activator_refused_total{{{ITS_DOORS}}}[$__rate_interval]))")),
    ]
}
