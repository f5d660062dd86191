//! Tests of the metrics of a node.

use std::{sync::Mutex, time::Duration};

use ebb_agent::{Reading, Rules};

use ebb_agent::counter::Events;
use ebb_contract::CountedAt;

use super::*;
use crate::node::pod::PodSpec;

fn view() -> SharedView {
    let spec = PodSpec {
        uid: "u".to_owned(),
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        workload: ("Deployment".to_owned(), "web".to_owned()),
        qos: None,
        rules: Rules::default(),
        counted_at: CountedAt {
            hop: "app".into(),
            reason: "istio".into(),
            ports: vec![8080],
            only_inside: false,
        },
        target: 10,
    };
    let reading = Reading {
        in_flight: 3,
        opaque: 1,
        started: 10,
        completed: 7,
        status: [0, 6, 0, 0, 1],
        ..Reading::NOTHING
    };
    Arc::new(Mutex::new(View {
        readings: vec![PodReading {
            spec,
            since: Duration::ZERO,
            reading,
        }],
        pod_counts: PodCounts {
            counted: 1,
            waiting: 2,
            rejected: 0,
        },
        missed: 4,
        synced: true,
        status: CountingStatus::Unavailable(
            "KernelTooOld",
            "this node's kernel is 4.18".to_owned(),
        ),
        events: Events {
            unreadable: 3,
            ..Events::default()
        },
    }))
}

#[test]
fn a_pod_and_its_node_are_shown() {
    let metrics = Metrics::new(&view());
    let text = metrics.text(Format::Prometheus).unwrap();
    let pod = r#"namespace="shop",pod="web-1",workload_kind="Deployment",workload="web""#;
    for line in [
        &format!("ebb_pod_requests_total{{{pod}}} 10.0"),
        &format!(r#"ebb_pod_responses_total{{{pod},class="5xx"}} 1"#),
        &format!(r#"ebb_pod_requests_in_flight{{{pod},protocol="http1"}} 2"#),
        &format!(r#"ebb_pod_requests_in_flight{{{pod},protocol="opaque"}} 1"#),
        &format!(r#"ebb_pod_request_duration_seconds_bucket{{le="+Inf",{pod}}} 0"#),
        &format!(r#"ebb_pod_hop{{{pod},hop="app",reason="istio"}} 1"#),
        r#"ebb_agent_pods{state="waiting"} 2"#,
        r#"ebb_agent_unavailable{reason="KernelTooOld"} 1"#,
        "ebb_agent_counting 0",
        "ebb_agent_missed_readings_total 4",
        "ebb_agent_kernel_events_total{event=\"unreadable\"} 3",
        r#"ebb_agent_reports_total{outcome="lost"} 0"#,
    ] {
        assert!(text.lines().any(|has| has == line), "{line}\nin:\n{text}");
    }
}
