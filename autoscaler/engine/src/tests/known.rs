//! Tests that missing facts never cause a scale-down. Other tests here: the pods that count for a workload, and the
//! limit of workloads per namespace.

use std::sync::Arc;

use super::*;
use crate::NoTargetReason;

/// Adds twenty ready pods of `web` for which no report is sent.
fn twenty(cluster: &mut Cluster) {
    for number in 0..20 {
        let name = format!("web-{number}");
        cluster.pod("web", &name, "n1", 1);
        cluster.find(&name).silent = true;
    }
}

fn unknown(cluster: &Cluster) -> Option<String> {
    let view = cluster.engine.views().next().unwrap();
    view.unknown.map(|unknown| unknown.what.into_owned())
}

const MIN_1: (&str, &str) = ("autoscaling.knative.dev/min-scale", "1");

#[test]
fn p1_opting_in_keeps_what_is_there_until_its_load_is_known() {
    let mut cluster = Cluster::new();
    twenty(&mut cluster);
    cluster
        .engine
        .target_seen(cluster.now, target("web", 20, &[MIN_1]));
    let effects = cluster.pass(300);
    assert_eq!(orders(&effects), []);
    assert_eq!(unknown(&cluster).as_deref(), Some("metrics"));
    let said = notices(&effects);
    assert_eq!(said.len(), 1, "once: {said:?}");
    assert_eq!(said[0].0, "ScaleDownBlocked");
    for pod in &mut cluster.pods {
        pod.silent = false;
    }
    // From here on, reports about all pods are sent. No order is expected for a stable window (60 s), because the
    // earlier load is unknown.
    assert_eq!(orders(&cluster.pass(59)), []);
    assert_eq!(unknown(&cluster).as_deref(), Some("window"));
    // One decision at most halves the number of ready pods. The simulated cluster deletes no pod, so no order is below
    // 20 / 2 = 10 replicas.
    assert_eq!(orders(&cluster.pass(60)).last().unwrap().1, 10);
}

#[test]
fn p1_a_restart_while_no_pod_is_ready_keeps_them_all() {
    let mut cluster = Cluster::new();
    let two = ("autoscaling.knative.dev/min-scale", "2");
    cluster
        .engine
        .target_seen(cluster.now, target("web", 50, &[two]));
    for number in 0..50 {
        let name = format!("web-{number}");
        cluster.pod("web", &name, "n1", 0);
        let pod = cluster.find(&name);
        (pod.silent, pod.facts.ready) = (true, false);
        let facts = pod.facts.clone();
        cluster.engine.pod_seen(cluster.now, facts);
    }
    assert_eq!(orders(&cluster.pass(300)), []);
    assert_eq!(unknown(&cluster).as_deref(), Some("unmeasured"));
}

/// Adds a pod whose owner is requested from the API server and not answered yet. Returns the owner.
fn pod_of_unresolved(cluster: &mut Cluster) -> Arc<Owner> {
    let owner = Owner::named("apps/v1", "ReplicaSet", "web-2", "set-2").unwrap();
    let owner = Arc::new(owner);
    let facts = PodFacts {
        uid: "uid-of-late".into(),
        namespace: "shop".into(),
        name: "late".into(),
        node: Some("n1".into()),
        ready: true,
        deleting: false,
        opted_in: true,
        owner: Some(Arc::clone(&owner)),
        deletion_cost: None,
        created: 0,
    };
    cluster.engine.pod_seen(cluster.now, facts);
    owner
}

#[test]
fn p1_and_p2_an_owner_that_is_not_resolved_holds_its_namespace_and_says_so() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 20, &[]));
    cluster.pod("web", "a", "n1", 1);
    let owner = pod_of_unresolved(&mut cluster);
    let asked = cluster.engine.effects();
    assert!(matches!(&asked[..], [Effect::ResolveOwner { owner: of, .. }] if *of == owner));
    let effects = cluster.pass(120);
    assert_eq!(orders(&effects), []);
    assert_eq!(unknown(&cluster).as_deref(), Some("owners"));
    let said = notices(&effects);
    assert!(said[0].1.contains("ReplicaSet web-2"), "{said:?}");
    // The API server answers that the autoscaler may not read the owner, so the owner no longer prevents a scale-down.
    // The scale-down still waits for a stable window (60 s).
    let nowhere = OwnerResolution::NoTarget(NoTargetReason::Forbidden);
    cluster
        .engine
        .owner_resolved(cluster.now, "shop", &owner, nowhere);
    cluster.engine.effects();
    assert_eq!(orders(&cluster.pass(59)), []);
    assert_eq!(orders(&cluster.pass(90)).last().unwrap().1, 1);
}

#[test]
fn p11_rights_that_are_given_later_bring_the_pods_along() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &[]));
    let owner = pod_of_unresolved(&mut cluster);
    let nowhere = OwnerResolution::NoTarget(NoTargetReason::Forbidden);
    cluster
        .engine
        .owner_resolved(cluster.now, "shop", &owner, nowhere);
    let said = cluster.engine.effects();
    assert_eq!(notices(&said)[0].0, "NotScalable");
    let to = OwnerResolution::Target(key("web"));
    cluster
        .engine
        .owner_resolved(cluster.now, "shop", &owner, to);
    cluster.pass(3);
    assert_eq!(
        cluster.engine.views().next().unwrap().ready_replicas,
        Some(1)
    );
}

#[test]
fn t1_an_owner_of_another_namespace_leads_nowhere() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &[]));
    cluster.pod("web", "a", "n1", 1);
    let mut forged = cluster.find("a").facts.clone();
    forged.uid = "uid-of-forged".into();
    forged.namespace = "evil".into();
    cluster.engine.pod_seen(cluster.now, forged.clone());
    let asked = cluster.engine.effects();
    assert!(
        matches!(&asked[..], [Effect::ResolveOwner { namespace, .. }] if **namespace == *"evil"),
        "{asked:?}"
    );
    // The engine must ignore an answer that names an object in another namespace.
    let to = OwnerResolution::Target(key("web"));
    let owner = forged.owner.unwrap();
    cluster
        .engine
        .owner_resolved(cluster.now, "evil", &owner, to);
    cluster.pass(3);
    let view = cluster.engine.views().next().unwrap();
    assert_eq!(view.ready_replicas, Some(1));
    assert_eq!(view.unknown.unwrap().what, "window", "no owner is missing");
}

#[test]
fn facts_that_are_out_of_date_never_shrink_anything() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 5, &[]));
    for name in ["a", "b", "c", "d", "e"] {
        cluster.pod("web", name, "n1", 0);
    }
    let stale = "no message about pods for more than 30s";
    cluster.engine.facts_are(Some(stale.to_owned()));
    assert_eq!(orders(&cluster.pass(300)), []);
    let view = cluster.engine.views().next().unwrap();
    assert_eq!(view.unknown.unwrap().why, stale);
    cluster.engine.facts_are(None);
    // One decision at most halves the number of ready pods. The simulated cluster deletes no pod, so no order is below
    // 5 / 2 = 2 replicas (rounded down).
    assert_eq!(orders(&cluster.pass(200)).last().unwrap().1, 2);
}

#[test]
fn t3_a_namespace_has_so_many_workloads_and_no_more() {
    let mut cluster = Cluster::new();
    cluster.engine = std::mem::replace(&mut cluster.engine, Engine::new(Queueing::Nowhere))
        .with_most_workloads(2);
    for name in ["a", "b", "c", "d"] {
        cluster
            .engine
            .target_seen(cluster.now, target(name, 1, &[]));
    }
    let said = cluster.engine.effects();
    let said = notices(&said);
    assert_eq!((said.len(), said[0].0), (1, "NamespaceLimit"), "{said:?}");
    assert_eq!(cluster.engine.views().count(), 2);
    cluster.engine.target_gone(cluster.now, &key("a"));
    cluster.engine.target_gone(cluster.now, &key("d"));
    let names: Vec<_> = cluster.engine.views().map(|view| view.name).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn p4_what_only_a_slice_names_is_a_workload() {
    let mut cluster = Cluster::new();
    let mut owned = target("made", 0, &[]);
    owned.owned = true;
    cluster.engine.slice_names(key("made"));
    let asked = cluster.engine.effects();
    assert_eq!(asked, [Effect::Confirm(key("made"))]);
    cluster.engine.target_seen(cluster.now, owned);
    assert_eq!(cluster.engine.views().count(), 0, "nobody has confirmed it");
    assert!(!cluster.engine.ownership.is_no_workload(&key("made")));
    let to = OwnerResolution::Target(key("made"));
    cluster.engine.confirmed(cluster.now, &key("made"), to);
    assert_eq!(cluster.engine.views().count(), 1);
    // The object `gone` counts as "not a workload" only after the API server has answered that the object does not
    // exist.
    cluster.engine.slice_names(key("gone"));
    let absent = OwnerResolution::NoTarget(NoTargetReason::Absent);
    assert!(!cluster.engine.ownership.is_no_workload(&key("gone")));
    cluster.engine.confirmed(cluster.now, &key("gone"), absent);
    assert!(cluster.engine.ownership.is_no_workload(&key("gone")));
}
