//! The request path through the activators survives a leader that stops or restarts, and tenants that write
//! EndpointSlices and request many ports.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::kubelet::START_DELAY;
use ebb_e2e::{SOON, SYSTEM, deployment, opted_in};
use ebb_fixtures::{Case, Need, Signal, eventually, note};
use serde_json::{Value, json};

use crate::world::{await_event, events};
use crate::zero::client::{all, assert_all_ok, many};
use crate::zero::world::{App, TO_ZERO, Zero, shared};

/// What these tests need, because their pods are processes in cgroups, each with its own IP address.
const NEEDS: &[Need] = &[Need::Cgroup, Need::Network];

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::p3_a_leader_that_stops_or_starts_keeps_endpoints",
        NEEDS,
        p3_leader,
    ),
    Case::beside(
        "trust::p12_queued_when_the_port_is_renamed",
        NEEDS,
        p12_renamed,
    ),
    Case::beside("trust::t2_slices_of_a_tenant", NEEDS, t2_slices),
    Case::beside("trust::t5_thousands_of_ports", NEEDS, t5_ports),
];

/// The duration for which the leader is paused with SIGSTOP.
const STOPPED: Duration = Duration::from_secs(5);

fn slice(namespace: &str, name: &str) -> String {
    path("discovery.k8s.io/v1", "EndpointSlice", namespace, name)
}

/// Returns the record of the ports allocated to a namespace, by Service; `None` if there is no record.
fn record(zero: &Zero, namespace: &str) -> Option<Value> {
    let name = format!("ebb-ports.{namespace}");
    let map = zero
        .world
        .api()
        .get(&path("v1", "ConfigMap", SYSTEM, &name));
    Some(map.ok()?["data"].clone())
}

/// Returns the ports that a record allocates to a Service.
fn ports(record: &Value, service: &str) -> Value {
    let text = record[service].as_str().unwrap_or("{}");
    serde_json::from_str::<Value>(text).unwrap()["ports"].clone()
}

/// Asserts that a Service has activator endpoints during the whole of `time`.
#[track_caller]
fn assert_leads_somewhere(app: &App<'_>, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert!(!app.newest().activators.is_empty(), "nobody can wake it");
        thread::sleep(Duration::from_millis(10));
    }
}

fn p3_leader() {
    let mut zero = Zero::new();
    {
        let app = zero.app("p3", "web", &[]);
        app.await_zero();
        assert!(
            slice_of(&zero, "p3")["metadata"]["annotations"]["ebb.dev/scaled-to-zero"] == "true"
        );
        let leader = zero.world.replica();
        leader.signal(Signal::SIGSTOP);
        thread::sleep(STOPPED);
        leader.signal(Signal::SIGCONT);
        assert_leads_somewhere(&app, STOPPED);
        assert_all_ok(&all(many(4, &app.pick(), "/")));
        app.await_zero();
        std::mem::forget(app);
    }
    let before = record(&zero, "p3");
    zero.world.replicas[0].restart();
    zero.world.replica().await_leading();
    let pick = zero.proxy.pick("p3", "web");
    let until = Instant::now() + STOPPED;
    while Instant::now() < until {
        let newest = zero.proxy.newest("p3", "web");
        assert!(!newest.activators.is_empty(), "nobody can wake it");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(record(&zero, "p3"), before, "no allocated port may change");
    assert_all_ok(&all(many(4, &pick, "/")));
    note(
        "the leader was paused for 5 s, then killed, with a workload at zero: its Service kept the activator endpoints"
            .to_owned(),
    );
}

fn slice_of(zero: &Zero, namespace: &str) -> Value {
    zero.world.api().get(&slice(namespace, "web-ebb")).unwrap()
}

fn p12_renamed() {
    let zero = shared();
    let app = zero.app("p12", "web", &[(START_DELAY, "5s")]);
    app.await_zero();
    let requests = many(6, &app.pick(), "/");
    eventually("all of them queued", TO_ZERO, || {
        let held = zero.metric("ebb_activator_queued_requests", &app, "");
        (held as usize == 6).then_some(())
    });
    let renamed = json!({"spec": {"ports": [{"name": "web", "port": 80, "targetPort": 8080}]}});
    let at = path("v1", "Service", "p12", "web");
    zero.world.api().merge(&at, &renamed).unwrap();
    eventually("another port recorded", SOON, || {
        let record = record(&zero, "p12")?;
        ports(&record, "web")["web"].is_number().then_some(())
    });
    assert_all_ok(&all(requests));
}

/// EndpointSlices that a tenant writes in its own namespace change no allocated port, and redirect no requests of other
/// tenants.
fn t2_slices() {
    let zero = shared();
    let api = zero.world.api();
    let app = zero.app("t2-victim", "web", &[]);
    app.await_zero();
    zero.world.cluster.namespace("t2-evil");
    let before = record(&zero, "t2-victim").expect("a record");
    let number = ports(&before, "web")["http"].as_u64().expect("a port");
    let forged = |namespace: &str, name: &str, service: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "ebb.dev"},
                "annotations": {"ebb.dev/workload": "apps/Deployment/web", "ebb.dev/hard-limit": "1"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": number, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.200.0.9"], "conditions": {"ready": true}}],
        })
    };
    // The attacker's slices claim the victim's port: one slice has a name as Ebb would use, the other slice has a name
    // that Ebb never uses.
    for (namespace, name, service) in [
        ("t2-evil", "web-ebb", "web"),
        ("t2-evil", "forged", "other"),
    ] {
        api.create(&slice(namespace, ""), &forged(namespace, name, service))
            .unwrap();
        await_event(api, namespace, "EndpointSlice", name, "ForeignSlice");
    }
    // A client in the victim's namespace changes Ebb's slice: the API server permits changes of labels and endpoints.
    // Ebb must revert the changes.
    let good = slice_of(&zero, "t2-victim");
    let edit = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "other"}},
        "endpoints": [{"addresses": ["10.200.0.9"], "conditions": {"ready": true}}],
    });
    api.merge(&slice("t2-victim", "web-ebb"), &edit).unwrap();
    eventually("written back", SOON, || {
        let slice = slice_of(&zero, "t2-victim");
        let same = |field: &str| slice[field] == good[field];
        let labels = slice["metadata"]["labels"] == good["metadata"]["labels"];
        (same("endpoints") && same("ports") && labels).then_some(())
    });
    eventually("known to the nodes", SOON, || {
        (app.endpoints().activators.len() == 2).then_some(())
    });
    assert_all_ok(&all(many(10, &app.pick(), "/")));
    assert_eq!(record(&zero, "t2-victim"), Some(before));
    assert_eq!(record(&zero, "t2-evil"), None);
    let said = events(api, "t2-evil", "EndpointSlice", "forged");
    assert_eq!(said.len(), 1, "{said:?}");
}

/// A namespace that requests thousands of ports gets ports up to its limit, and an Event for each Service above the
/// limit. Other namespaces get their ports.
fn t5_ports() {
    let zero = shared();
    let api = zero.world.api();
    zero.world.cluster.namespace("t5-greedy");
    let service = |name: &str, count: u16| {
        let ports: Vec<_> = (1..=count)
            .map(|port| json!({"name": format!("p{port}"), "port": port}))
            .collect();
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "t5-greedy"},
            "spec": {"selector": {"app": name}, "ports": ports},
        })
    };
    for (name, count) in [("a", 90), ("b", 90), ("c", 90), ("d", 2_000)] {
        api.apply(&service(name, count));
        api.apply(&deployment("t5-greedy", name, 0, &opted_in(&[])));
    }
    let limit = eventually("a Service above the port limit has an Event", SOON, || {
        ["a", "b", "c"].into_iter().find_map(|name| {
            let said = events(api, "t5-greedy", "Service", name).into_iter();
            said.into_iter().find(|(reason, _)| reason == "PortLimit")
        })
    });
    assert!(
        limit.1.contains("limit of 200 proxied ports"),
        "{}",
        limit.1
    );
    let many = await_event(api, "t5-greedy", "Service", "d", "PortLimit");
    assert!(many.contains("more than 100 TCP ports"), "{many}");
    let record = record(&zero, "t5-greedy").expect("a record");
    let recorded: usize = ["a", "b", "c", "d"]
        .into_iter()
        .filter_map(|name| Some(ports(&record, name).as_object()?.len()))
        .sum();
    assert_eq!(recorded, 180);
    let app = zero.app("t5-other", "web", &[]);
    app.await_zero();
    assert_all_ok(&all(crate::zero::client::many(2, &app.pick(), "/")));
    for name in ["a", "b", "c", "d"] {
        for (version, kind) in [("apps/v1", "Deployment"), ("v1", "Service")] {
            api.delete(&path(version, kind, "t5-greedy", name)).ok();
        }
    }
}
