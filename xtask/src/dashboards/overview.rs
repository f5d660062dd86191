//! All workloads: what they cost, which need somebody, and whether those who count and decide are well.

use super::{Dashboard, annotation, link, panel::Panel};

/// Every replica of the autoscaler tells of every workload: one series of them.
macro_rules! once {
    ($metric:literal) => {
        concat!(
            "max by (namespace, kind, name) (ebb_workload_",
            $metric,
            ")"
        )
    };
}

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "ebb-overview",
        title: "Ebb / overview",
        description: "All workloads that Ebb scales, and Ebb itself.",
        variables: vec![],
        annotations: vec![annotation(
            "Another leader",
            "purple",
            "sum(changes(ebb_autoscaler_leader[1m])) > 0",
            "another leader",
        )],
        links: vec![link("A workload", "ebb-workload")],
        rows: vec![
            ("Now", now()),
            ("Traffic and pods", traffic()),
            ("Workloads", vec![workloads()]),
            ("At zero and in a burst: the activator", activator()),
            ("Counting and deciding", machinery()),
            ("What Ebb takes", cost()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::number(
            "Workloads",
            "short",
            "That opted in.",
            "max(ebb_autoscaler_workloads)",
        ),
        Panel::number(
            "Pods",
            "short",
            "That all of them together are asked to have.",
            concat!("sum(", once!("replicas"), ")"),
        ),
        Panel::number(
            "In flight",
            "short",
            "Requests in flight, in all.",
            concat!("sum(", once!("requests_in_flight"), ")"),
        ),
        Panel::number(
            "Saved against peak",
            "percentunit",
            "Pods saved in the time shown, against every workload having its peak of that time throughout.",
            concat!(
                "1 - sum(avg_over_time(",
                once!("replicas"),
                "[$__range:])) / (sum(max_over_time(",
                once!("replicas"),
                "[$__range:])) > 0)"
            ),
        ),
        Panel::number(
            "In panic",
            "short",
            "Workloads that a burst keeps from shrinking.",
            concat!("sum(", once!("panicking"), ")"),
        ),
        Panel::number(
            "Stuck",
            "short",
            "Workloads that have fewer pods ready than they are asked to have.",
            concat!(
                "count(",
                once!("replicas"),
                " > ",
                once!("ready_pods"),
                ") or vector(0)"
            ),
        )
        .bad_above(1.0),
        Panel::number(
            "Stale",
            "short",
            "Workloads with pods that are not heard of: they may grow and do not shrink.",
            concat!("count(", once!("silent_pods"), " > 0) or vector(0)"),
        )
        .bad_above(1.0),
        Panel::number(
            "Refused",
            "short",
            "Workloads that are not scaled: wrong annotations, or another autoscaler.",
            concat!("sum(", once!("refused"), ")"),
        )
        .bad_above(1.0),
    ]
}

fn traffic() -> Vec<Panel> {
    vec![
        Panel::lines("Pods", "short", "Asked for, ready, and wanted by the load.")
            .query("asked for", concat!("sum(", once!("replicas"), ")"))
            .query("ready", concat!("sum(", once!("ready_pods"), ")"))
            .query("wanted", concat!("sum(", once!("desired_pods"), ")"))
            .dashed("wanted"),
        Panel::lines(
            "Requests in flight",
            "short",
            "The exact mean, from the kernel's integral, of the ten busiest workloads.",
        )
        .query(
            "{{namespace}}/{{workload}}",
            "topk(10, sum by (namespace, workload) (rate(ebb_pod_in_flight_seconds_total[$__rate_interval])))",
        )
        .stacked(),
        Panel::lines("Responses", "reqps", "By class of status, over all pods.")
            .query(
                "{{class}}",
                "sum by (class) (rate(ebb_pod_responses_total[$__rate_interval]))",
            )
            .stacked(),
    ]
}

fn workloads() -> Panel {
    Panel::table(
        "Workloads",
        "Those that need somebody first; a name leads to its board.",
        "name",
        "/d/ebb-workload?var-datasource=${datasource}&var-namespace=${__data.fields.namespace}\
         &var-kind=${__data.fields.kind}&var-name=${__data.fields.name}&${__url_time_range}",
    )
    .query("asked for", once!("replicas"))
    .query("ready", once!("ready_pods"))
    .query("wanted", once!("desired_pods"))
    .query("load", once!("stable_load"))
    .query("target a pod", once!("target_load"))
    .query("in flight", once!("requests_in_flight"))
    .query("panic", once!("panicking"))
    .query("silent pods", once!("silent_pods"))
    .query("refused", once!("refused"))
}

fn activator() -> Vec<Panel> {
    vec![
        Panel::lines("Requests held", "short", "That wait for a pod, by Service.")
            .query(
                "{{namespace}}/{{service}}",
                "sum by (namespace, service) (ebb_activator_held_requests)",
            ),
        Panel::lines("Cold starts", "s", "How long the first request waited at zero pods.")
            .query("half", "histogram_quantile(0.5, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket[$__range])))")
            .query("nine in ten", "histogram_quantile(0.9, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket[$__range])))"),
        Panel::lines(
            "Answered, refused",
            "reqps",
            "Requests that came by way of the activator.",
        )
        .query("answered by pods", "sum(rate(ebb_activator_answered_total[$__rate_interval]))")
        .query("refused: {{reason}}", "sum by (reason) (rate(ebb_activator_refused_total[$__rate_interval]))"),
    ]
}

fn machinery() -> Vec<Panel> {
    vec![
        Panel::lines("Pods counted", "short", "Of those that opted in, by what the agents make of them.")
            .query("{{state}}", "sum by (state) (ebb_agent_pods)")
            .query("nodes that do not count", "count(ebb_agent_counting == 0) or vector(0)"),
        Panel::lines("Reports", "reqps", "From agents, by what became of them.")
            .query("taken", "sum(rate(ebb_autoscaler_reports_total{outcome=\"taken\"}[$__rate_interval]))")
            .query("{{outcome}} (at the agent)", "sum by (outcome) (rate(ebb_agent_reports_total[$__rate_interval]))"),
        Panel::lines("Who reports", "short", "Agents and other sources heard of in the last hour.")
            .query("all", "max(ebb_autoscaler_report_senders)")
            .query("silent", "max(ebb_autoscaler_report_senders_silent)")
            .query("activators", "max(ebb_autoscaler_activators)"),
        Panel::lines("From report to decision", "s", "How late reports come, and how long they take to be in the windows.")
            .query("latest report", "max(ebb_autoscaler_report_lag_seconds)")
            .query("taken in (99 %)", "histogram_quantile(0.99, sum by (le) (rate(ebb_autoscaler_report_ingest_seconds_bucket[$__rate_interval])))"),
        Panel::lines("Decisions", "ops", "By what they rest on.")
            .query("{{reason}}", "sum by (reason) (rate(ebb_autoscaler_decisions_total[$__rate_interval]))")
            .stacked(),
        Panel::lines("Orders to scale", "ops", "By outcome.")
            .query("{{outcome}}", "sum by (outcome) (rate(ebb_autoscaler_scale_writes_total[$__rate_interval]))"),
    ]
}

fn cost() -> Vec<Panel> {
    let ours = "job=~\"(.+/)?ebb-(agent|autoscaler|activator)\"";
    vec![
        Panel::lines(
            "CPU",
            "short",
            "Cores, by program; what counting takes in the kernel is not in it.",
        )
        .query(
            "{{job}}",
            &format!("sum by (job) (rate(process_cpu_seconds_total{{{ours}}}[$__rate_interval]))"),
        ),
        Panel::lines("Memory", "bytes", "Resident, by program.").query(
            "{{job}}",
            &format!("sum by (job) (process_resident_memory_bytes{{{ours}}})"),
        ),
        Panel::lines(
            "What rarely happens in the kernel",
            "ops",
            "Connections that cannot be read or followed.",
        )
        .query(
            "{{event}}",
            "sum by (event) (rate(ebb_agent_kernel_events_total[$__rate_interval]))",
        ),
    ]
}
