//! An attacker with the agent's token of one node can only read and report the pods of this node.

use std::time::Duration;

use ebb_e2e::api::{Refused, path};
use ebb_e2e::{Api, Cluster, SOON, SYSTEM, manifests};
use ebb_fixtures::{Case, Need, eventually};
use serde_json::{Value, json};

use crate::security;
use crate::world::{NODES, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::t9_an_agent_lists_the_pods_of_its_node_only",
        &[Need::ControlPlane],
        own_node,
    ),
    Case::beside(
        "trust::t12_the_token_of_a_deleted_pod_is_refused",
        &[Need::Cgroup, Need::ControlPlane],
        deleted_pod,
    ),
    Case::beside(
        "trust::t12_a_token_of_no_pod_reports_nothing",
        NODES,
        no_pod,
    ),
];

/// Creates an agent pod on a node.
fn agent_pod(api: &Api, name: &str, node: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "nodeName": node, "serviceAccountName": "ebb-agent",
            "containers": [{"name": "agent", "image": "ebb"}],
        },
    });
    api.create(&path("v1", "Pod", SYSTEM, ""), &pod).unwrap()
}

/// Checks the authorization configuration in `deploy/control-plane`, on an API server that uses it.
fn own_node() {
    const PLACE: &str = "/etc/kubernetes/ebb";
    let folder = tempfile::tempdir().unwrap();
    for file in ["authorization.yaml", "nobody.kubeconfig"] {
        let text = manifests::file(&format!("deploy/control-plane/{file}"));
        let text = std::fs::read_to_string(text).unwrap();
        let text = text.replace(PLACE, &folder.path().display().to_string());
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let cluster = Cluster::with_authorization(&folder.path().join("authorization.yaml"));
    let api = cluster.api();
    for node in ["node-a", "node-b"] {
        api.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}));
    }
    let pod = agent_pod(api, "agent", "node-a");
    let agent = cluster.api_with(&api.token(SYSTEM, "ebb-agent", None, Some(&pod)));
    let list = |api: &Api, query: &str| api.get(&format!("/api/v1/pods?{query}"));
    let own = "fieldSelector=spec.nodeName%3Dnode-a";
    let pods = list(&agent, own).expect("its own node's");
    assert_eq!(pods["items"][0]["metadata"]["name"], "agent");
    let watched = format!("{own}&watch=true&timeoutSeconds=1&resourceVersion=0");
    // The test's client expects one JSON document, but the response to a watch is a sequence of documents. So the
    // client cannot parse the response, and reports code 0. A refusal would have another code.
    assert!(list(&agent, &watched).map_or_else(|refused| refused.code == 0, |_| true));
    for other in [
        "",
        "fieldSelector=spec.nodeName%3Dnode-b",
        "fieldSelector=spec.nodeName%21%3Dnode-b",
        "fieldSelector=status.phase%3DPending",
        "labelSelector=app",
        "watch=true&timeoutSeconds=1",
    ] {
        assert_denied(list(&agent, other));
    }
    assert_denied(list(&cluster.api_as("ebb-agent"), own));
    // The authorization configuration must restrict only the agents' accounts.
    let autoscaler = cluster.api_as("ebb-autoscaler");
    list(&autoscaler, "").expect("the autoscaler may list all pods");
}

/// Asserts that a request was denied. The configuration denies requests through a webhook that cannot be reached, so
/// the client gets status 500.
#[track_caller]
fn assert_denied(result: Result<Value, Refused>) {
    let refused = result.expect_err("not refused");
    assert_eq!(refused.code, 500, "{refused:?}");
}

/// Checks that the report port refuses a token within 60 s after the token's pod was deleted.
fn deleted_pod() {
    let world = shared();
    let api = world.api();
    let pod = agent_pod(api, "agent-to-be-deleted", "node-a");
    let token = api.token(
        SYSTEM,
        "ebb-agent",
        Some(ebb_contract::AUDIENCE),
        Some(&pod),
    );
    let report = security::report("node-a", "nobody");
    assert_eq!(security::status(&world, Some(&token), &report), 200);
    let at = path("v1", "Pod", SYSTEM, "agent-to-be-deleted");
    let now = json!({"gracePeriodSeconds": 0});
    api.ask("DELETE", &at, "application/json", &now).unwrap();
    eventually("the token refused", Duration::from_secs(60), || {
        (security::status(&world, Some(&token), &report) == 401).then_some(())
    });
}

/// Checks that the report port refuses a token that is not bound to a pod: the token names no node.
fn no_pod() {
    let world = shared();
    let audience = Some(ebb_contract::AUDIENCE);
    let token = world.api().token(SYSTEM, "ebb-agent", audience, None);
    let report = security::report("node-a", "nobody");
    eventually("refused", SOON, || {
        (security::status(&world, Some(&token), &report) == 403).then_some(())
    });
}
