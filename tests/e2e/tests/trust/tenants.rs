//! One tenant's objects do not affect the workloads of other tenants. (These are the cases T1, T4 and T8, after which
//! the tests are named.)

use std::time::Duration;

use ebb_e2e::SOON;
use ebb_e2e::api::path;
use ebb_fixtures::{Case, full, note};
use serde_json::{Value, json};

use crate::cost;
use crate::light::{CARRIES, Light, WINDOW, fast};

pub(crate) const CASES: &[Case] = &[
    Case::beside("trust::t1_foreign_uid", &[], t1_foreign_uid),
    Case::beside(
        "trust::t1_foreign_uid_never_reported",
        &[],
        t1_never_reported,
    ),
    Case::beside("trust::t4_owners_with_names_of_900_kb", &[], t4_long_names),
    Case::beside(
        "trust::t8_owners_that_cannot_be",
        &[],
        t8_owners_that_cannot_be,
    ),
];

/// Returns a pod that a tenant creates directly, with an owner reference of the tenant's choice.
pub(crate) fn pod(namespace: &str, name: &str, owner: &Value, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"app": "evil"}, "annotations": fast(&[]),
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "x"}]},
    })
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true})
}

/// Returns the owner reference to the victim's ReplicaSet that the victim's own pods have.
fn victim(light: &Light) -> Value {
    let sets = light
        .api()
        .list(&path("apps/v1", "ReplicaSet", "victim", ""));
    let set = &sets[0]["metadata"];
    reference(
        "apps/v1",
        "ReplicaSet",
        set["name"].as_str().unwrap(),
        &set["uid"],
    )
}

fn t1_foreign_uid() {
    let light = Light::new();
    light.app(
        "victim",
        "web",
        1,
        &fast(&[("autoscaling.knative.dev/min-scale", "1")]),
    );
    light.nodes.load("victim", "web", 1.0);
    light.cluster.namespace("evil");
    let owner = victim(&light);
    // The garbage collector deletes a pod whose owner is in another namespace, so the tenant creates several pods one
    // after another.
    for number in 0..5 {
        let pod = pod("evil", &format!("evil-{number}"), &owner, "sim-a");
        light
            .api()
            .create("/api/v1/namespaces/evil/pods", &pod)
            .unwrap();
        light.nodes.load("evil", "evil", 500.0);
        std::thread::sleep(Duration::from_secs(3));
    }
    let pods: Vec<_> = light
        .scales
        .history("victim", "web")
        .iter()
        .map(|(pods, _)| *pods)
        .collect();
    assert_eq!(pods, [1], "{}", light.replica().workload("victim", "web"));
}

/// A foreign pod that no agent reports must not make the victim's metrics permanently stale.
fn t1_never_reported() {
    let light = Light::new();
    light.app(
        "victim",
        "web",
        3,
        &fast(&[("autoscaling.knative.dev/min-scale", "1")]),
    );
    light.nodes.load("victim", "web", 2.5 * CARRIES);
    light.cluster.namespace("evil");
    let owner = victim(&light);
    let pod = pod("evil", "evil", &owner, "nowhere");
    light
        .api()
        .create("/api/v1/namespaces/evil/pods", &pod)
        .unwrap();
    std::thread::sleep(WINDOW);
    let ended = light.nodes.load("victim", "web", 0.0);
    light.await_replicas("victim", "web", SOON, 1);
    light.assert_fell_with_its_load("victim", "web", 2.5 * CARRIES, ended);
}

/// Length of an owner's name, bytes. An object that contains a name of this length is only slightly smaller than etcd's
/// limit.
const NAME: usize = 900 << 10;
/// Maximum growth of the autoscaler's memory, MiB, by ten pods whose owners have names of [`NAME`] bytes (9 MiB in
/// total). While the autoscaler reads these pods, it needs several times 9 MiB. The allocator keeps a part of this
/// memory afterwards. A copy of the name in each metric and each Event would take hundreds of MiB.
const COSTS: f64 = 64.0;

fn t4_long_names() {
    let light = Light::new();
    light.app("victim", "web", 1, &fast(&[]));
    light.cluster.namespace("evil");
    let before = cost::own(light.replica().pid());
    for number in 0..10 {
        let name = format!("{}{number}", "n".repeat(NAME));
        let uid = json!(format!("0000-{number}"));
        let owner = reference("apps/v1", "ReplicaSet", &name, &uid);
        let pod = pod("evil", &format!("evil-{number}"), &owner, "sim-a");
        light
            .api()
            .create("/api/v1/namespaces/evil/pods", &pod)
            .unwrap();
    }
    // The autoscaler must still scale the victim's workload.
    light.nodes.load("victim", "web", 2.5 * CARRIES);
    light.await_replicas("victim", "web", SOON, 3);
    std::thread::sleep(WINDOW);
    for what in ["/metrics", "/v1/workloads"] {
        let (status, body) = light.replica().get(what).unwrap();
        assert_eq!(status, 200);
        assert!(body.len() < 1 << 20, "{what}: {} bytes", body.len());
    }
    let events = light
        .api()
        .list(&path("events.k8s.io/v1", "Event", "evil", ""));
    // https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/core/validation/events.go: an Event's note has at
    // most 1 kB.
    for event in &events {
        assert!(
            event.to_string().len() < 16 << 10,
            "an Event must not contain the long name"
        );
    }
    let grown = cost::own(light.replica().pid()) - before;
    // The autoscaler has freed the memory that it needed to read the pods, but the allocator keeps a part of it. So the
    // growth is more than the autoscaler still uses.
    note(format!(
        "10 pods whose owner's name has 900 KB: {grown:.1} MiB more memory, {} Events",
        events.len()
    ));
    assert!(
        light.replica().log().len() < 2 << 20,
        "the log must not contain the long names"
    );
    assert!(grown < COSTS, "{grown} MiB");
}

/// Maximum rate of requests to the API server that one namespace may cause permanently, requests/s: one owner look-up
/// per second with up to four requests, plus four for everything else.
const RATE: f64 = 8.0;

fn t8_owners_that_cannot_be() {
    let pods = if full() { 2_000 } else { 200 };
    let light = Light::new();
    light.app("victim", "web", 1, &fast(&[]));
    light.cluster.namespace("evil");
    for number in 0..pods {
        let uid = json!(format!("0000-{number}"));
        let owner = match number % 4 {
            0 => reference(&format!("g{number}.example/v1"), "Thing", "x", &uid),
            1 => reference("apps/v1", "ReplicaSet", "not a name", &uid),
            2 => reference("apps/v1", "ReplicaSet", "../../../api/v1/secrets", &uid),
            _ => reference("apps/v7", "ReplicaSet", &format!("x-{number}"), &uid),
        };
        let pod = pod("evil", &format!("evil-{number}"), &owner, "nowhere");
        light
            .api()
            .create("/api/v1/namespaces/evil/pods", &pod)
            .unwrap();
    }
    // Within these 20 s, the autoscaler tries to read each owner a few times, 1 s to 2 s apart. Later it sends no more
    // requests for these owners.
    std::thread::sleep(Duration::from_secs(20));
    let begun = light.cluster.audit().len();
    let over = Duration::from_secs(10);
    std::thread::sleep(over);
    let log = light.cluster.audit();
    let asked = log[begun..].iter().filter(|entry| {
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        user.ends_with(":ebb-autoscaler")
            && !entry["requestURI"]
                .as_str()
                .unwrap_or_default()
                .contains("/leases/")
    });
    let rate = asked.count() as f64 / over.as_secs_f64();
    note(format!(
        "{pods} pods with owners that cannot exist: after the first attempts, the autoscaler sends {rate:.1} \
         requests/s to the API server"
    ));
    assert!(rate <= RATE, "{rate} requests/s");
    light.nodes.load("victim", "web", 2.5 * CARRIES);
    light.await_replicas("victim", "web", SOON, 3);
}
