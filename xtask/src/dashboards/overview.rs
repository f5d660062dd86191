//! The dashboard of all workloads: their replicas and traffic, the workloads that need attention, and the state of
//! agents, autoscaler and activators.

use super::{Dashboard, annotation, link, panel::Panel};

/// A query with one series per workload. Every replica of the autoscaler exports every workload, so the query takes the
/// maximum over the replicas.
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
            "Leader change",
            "purple",
            "sum(changes(ebb_autoscaler_leader[1m])) > 0",
            "leader change",
        )],
        links: vec![link("A workload", "ebb-workload")],
        rows: vec![
            ("Now", now()),
            ("Traffic and pods", traffic()),
            ("Workloads", vec![workloads()]),
            ("The activator, at zero and in a burst", activator()),
            ("Counting and deciding", machinery()),
            ("Resources of Ebb", cost()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::number(
            "Workloads",
            "short",
            "Workloads that opted in.",
            "max(ebb_autoscaler_workloads)",
        ),
        Panel::number(
            "Requested replicas",
            "short",
            "Requested replicas of all workloads together.",
            concat!("sum(", once!("requested_replicas"), ")"),
        ),
        Panel::number(
            "Concurrency",
            "short",
            "Requests in flight at all workloads together.",
            concat!("sum(", once!("requests_in_flight"), ")"),
        ),
        Panel::number(
            "Saved against peak",
            "percentunit",
            "Share of replicas saved in the time shown, compared with every workload running its peak of replicas all the time.",
            concat!(
                "1 - sum(avg_over_time(",
                once!("requested_replicas"),
                "[$__range:])) / (sum(max_over_time(",
                once!("requested_replicas"),
                "[$__range:])) > 0)"
            ),
        ),
        Panel::number(
            "In panic mode",
            "short",
            "Workloads that are not scaled down because of a burst.",
            concat!("sum(", once!("panic_mode"), ")"),
        ),
        Panel::number(
            "Stuck",
            "short",
            "Workloads with fewer ready replicas than requested replicas.",
            concat!(
                "count(",
                once!("requested_replicas"),
                " > ",
                once!("ready_replicas"),
                ") or vector(0)"
            ),
        )
        .bad_above(1.0),
        Panel::number(
            "Metrics stale",
            "short",
            "Workloads with pods without current metrics. They are scaled up and not down.",
            concat!(
                "count(",
                once!("pods_without_metrics"),
                " > 0) or vector(0)"
            ),
        )
        .bad_above(1.0),
        Panel::number(
            "Not scaled",
            "short",
            "Workloads that are not scaled: invalid configuration, or a conflicting autoscaler.",
            concat!("sum(", once!("not_scaled"), ")"),
        )
        .bad_above(1.0),
    ]
}

fn traffic() -> Vec<Panel> {
    vec![
        Panel::lines("Replicas", "short", "Requested, ready and desired replicas of all workloads together.")
            .query("requested", concat!("sum(", once!("requested_replicas"), ")"))
            .query("ready", concat!("sum(", once!("ready_replicas"), ")"))
            .query("desired", concat!("sum(", once!("desired_replicas"), ")"))
            .dashed("desired"),
        Panel::lines(
            "Concurrency",
            "short",
            "Exact mean concurrency of the ten busiest workloads, from the time integral in the kernel.",
        )
        .query(
            "{{namespace}}/{{workload}}",
            "topk(10, sum by (namespace, workload) (rate(ebb_pod_in_flight_seconds_total[$__rate_interval])))",
        )
        .stacked(),
        Panel::lines("Responses", "reqps", "Responses of all pods, by status class.")
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
        "Workloads that need attention come first. A name links to the dashboard of its workload.",
        "name",
        "/d/ebb-workload?var-datasource=${datasource}&var-namespace=${__data.fields.namespace}\
         &var-kind=${__data.fields.kind}&var-name=${__data.fields.name}&${__url_time_range}",
    )
    .query("requested replicas", once!("requested_replicas"))
    .query("ready replicas", once!("ready_replicas"))
    .query("desired replicas", once!("desired_replicas"))
    .query("stable average", once!("stable_average"))
    .query("target per pod", once!("target_per_pod"))
    .query("in flight", once!("requests_in_flight"))
    .query("panic mode", once!("panic_mode"))
    .query("pods without metrics", once!("pods_without_metrics"))
    .query("not scaled", once!("not_scaled"))
}

fn activator() -> Vec<Panel> {
    vec![
        Panel::lines("Queued requests", "short", "Requests that wait for a pod, by Service.")
            .query(
                "{{namespace}}/{{service}}",
                "sum by (namespace, service) (ebb_activator_queued_requests)",
            ),
        Panel::lines("Cold starts", "s", "Time that the first request was queued at zero pods.")
            .query("median", "histogram_quantile(0.5, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket[$__range])))")
            .query("90 %", "histogram_quantile(0.9, sum by (le) (increase(ebb_activator_cold_start_seconds_bucket[$__range])))"),
        Panel::lines(
            "Answered, refused",
            "reqps",
            "Requests that went through the activators.",
        )
        .query("answered by pods", "sum(rate(ebb_activator_answered_total[$__rate_interval]))")
        .query("refused: {{reason}}", "sum by (reason) (rate(ebb_activator_refused_total[$__rate_interval]))"),
    ]
}

fn machinery() -> Vec<Panel> {
    vec![
        Panel::lines("Counted pods", "short", "Pods that opted in, by the state that their agent reports, and the number of nodes on which no request is counted.")
            .query("{{state}}", "sum by (state) (ebb_agent_pods)")
            .query("nodes that do not count requests", "count(ebb_agent_counting == 0) or vector(0)"),
        Panel::lines("Reports", "reqps", "Reports of agents, by outcome.")
            .query("accepted", "sum(rate(ebb_autoscaler_reports_total{outcome=\"accepted\"}[$__rate_interval]))")
            .query("{{outcome}} (at the agent)", "sum by (outcome) (rate(ebb_agent_reports_total[$__rate_interval]))"),
        Panel::lines("Senders of reports", "short", "Agents and other sources that reported in the last hour.")
            .query("all", "max(ebb_autoscaler_report_senders)")
            .query("stale", "max(ebb_autoscaler_report_senders_stale)")
            .query("activators", "max(ebb_autoscaler_activators)"),
        Panel::lines("From report to decision", "s", "How late reports arrive, and how long the autoscaler takes to record them.")
            .query("largest delay", "max(ebb_autoscaler_report_lag_seconds)")
            .query("recorded in (99 %)", "histogram_quantile(0.99, sum by (le) (rate(ebb_autoscaler_report_ingest_seconds_bucket[$__rate_interval])))"),
        Panel::lines("Decisions", "ops", "Decisions of the autoscaler, by their basis.")
            .query("{{reason}}", "sum by (reason) (rate(ebb_autoscaler_decisions_total[$__rate_interval]))")
            .stacked(),
        Panel::lines("Scale writes", "ops", "Writes of replicas to the API server, by outcome.")
            .query("{{outcome}}", "sum by (outcome) (rate(ebb_autoscaler_scale_writes_total[$__rate_interval]))"),
    ]
}

fn cost() -> Vec<Panel> {
    let ours = "job=~\"(.+/)?ebb-(agent|autoscaler|activator)\"";
    vec![
        Panel::lines(
            "CPU",
            "short",
            "CPU cores in use, by program. The time of the kernel programs is not included.",
        )
        .query(
            "{{job}}",
            &format!("sum by (job) (rate(process_cpu_seconds_total{{{ours}}}[$__rate_interval]))"),
        ),
        Panel::lines("Memory", "bytes", "Resident memory, by program.").query(
            "{{job}}",
            &format!("sum by (job) (process_resident_memory_bytes{{{ours}}})"),
        ),
        Panel::lines(
            "Unreadable connections",
            "ops",
            "Connections that the kernel programs could not read or store, by event.",
        )
        .query(
            "{{event}}",
            "sum by (event) (rate(ebb_agent_kernel_events_total[$__rate_interval]))",
        ),
    ]
}
