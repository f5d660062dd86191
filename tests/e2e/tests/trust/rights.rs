//! Case T9: RBAC and admission policies limit an attacker who has the autoscaler's service account.

use std::process::Command;

use ebb_e2e::api::{Refused, path};
use ebb_e2e::{Api, Cluster, SOON, SYSTEM, manifests};
use ebb_fixtures::{Case, Need, eventually, kubectl};
use serde_json::{Value, json};

use super::installed;

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::t9_of_a_pod_the_autoscaler_changes_the_deletion_cost_only",
        &[Need::ControlPlane],
        pods,
    ),
    Case::beside(
        "trust::t9_the_autoscaler_writes_its_own_slices_only",
        &[Need::ControlPlane],
        slices,
    ),
    Case::beside(
        "trust::t9_the_autoscaler_writes_its_own_config_maps_only",
        &[Need::ControlPlane],
        config_maps,
    ),
    Case::beside(
        "trust::t9_the_autoscaler_creates_no_secret",
        &[Need::ControlPlane],
        secrets,
    ),
    Case::beside(
        "trust::t9_the_limits_follow_the_namespace",
        &[Need::ControlPlane, Need::Kubectl],
        another_namespace,
    ),
];

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE: &str = "kubernetes.io/service-name";

/// Creates a pod with labels, annotations and a container image, and returns its URL path.
fn pod(api: &Api, namespace: &str) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "victim", "namespace": namespace,
            "labels": {"app": "victim"}, "annotations": {"theirs": "1"},
        },
        "spec": {"containers": [{"name": "app", "image": "good"}]},
    });
    api.apply(&pod);
    path("v1", "Pod", namespace, "victim")
}

/// Waits until an admission policy is in force, which takes some time after it is created. `attempt`: a request (as a
/// dry run) that the policy denies.
#[track_caller]
fn await_policy(attempt: impl Fn() -> Result<Value, Refused>) {
    eventually("the policy in force", SOON, || attempt().err());
}

#[track_caller]
fn assert_denied(result: Result<Value, Refused>, policy: &str) {
    let refused = result.expect_err("not refused");
    let by_policy = refused.message.contains(policy);
    assert!(refused.code == 403 && by_policy, "{refused:?}");
}

#[track_caller]
fn assert_forbidden(result: Result<Value, Refused>) {
    let refused = result.expect_err("not refused");
    let by_rbac = refused.message.contains("cannot");
    assert!(refused.code == 403 && by_rbac, "{refused:?}");
}

fn pods() {
    let cluster = installed();
    let account = cluster.api_as("ebb-autoscaler");
    let everybody = cluster.api();
    cluster.namespace("pods");
    for namespace in ["kube-system", "pods"] {
        only_the_cost(everybody, &account, &pod(everybody, namespace));
    }
}

/// Asserts that `account` can change only the deletion cost of a pod.
#[track_caller]
fn only_the_cost(everybody: &Api, account: &Api, pod: &str) {
    let image = json!({"spec": {"containers": [{"name": "app", "image": "bad"}]}});
    await_policy(|| account.merge(&format!("{pod}?dryRun=All"), &image));
    for cost in [json!("5"), json!("-7"), Value::Null] {
        let patch = json!({"metadata": {"annotations": {COST: cost}}});
        let patched = account.merge(pod, &patch).expect("its job");
        assert_eq!(patched["metadata"]["annotations"][COST], cost);
    }
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"});
    for patch in [
        image.clone(),
        json!({"spec": {"activeDeadlineSeconds": 1}}),
        json!({"metadata": {"generateName": "other"}}),
        json!({"metadata": {"labels": {"app": "other"}}}),
        json!({"metadata": {"labels": {"app": null}}}),
        json!({"metadata": {"labels": {"another": "1"}}}),
        json!({"metadata": {"finalizers": ["example.com/never"]}}),
        json!({"metadata": {"ownerReferences": [owner]}}),
        json!({"metadata": {"annotations": {"theirs": "2"}}}),
        json!({"metadata": {"annotations": {"theirs": null}}}),
        json!({"metadata": {"annotations": {"another": "1"}}}),
        // This patch contains a permitted change and a change that is not permitted, so it must be denied as a whole.
        json!({"metadata": {"annotations": {COST: "1", "another": "1"}}}),
        json!({"metadata": {"annotations": {COST: "1"}}, "spec": image["spec"]}),
    ] {
        assert_denied(account.merge(pod, &patch), "ebb-autoscaler-pods");
    }
    let status = json!({"status": {"phase": "Failed"}});
    assert_forbidden(account.merge(&format!("{pod}/status"), &status));
    assert_forbidden(account.delete(pod));
    // The policy must not restrict other accounts.
    everybody.merge(pod, &image).expect("an administrator");
}

fn slice(namespace: &str, name: &str, service: &str, manager: &str, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {SERVICE: service, MANAGED_BY: manager}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    })
}

fn slices() {
    const OURS: &str = "ebb.dev";
    const THEIRS: &str = "tenant.example";
    const POLICY: &str = "ebb-autoscaler-slices";
    let cluster = installed();
    let (account, everybody) = (cluster.api_as("ebb-autoscaler"), cluster.api());
    cluster.namespace("slices");
    let at = |name| path("discovery.k8s.io/v1", "EndpointSlice", "slices", name);
    let all = at("");
    let of_ours = |name, port| slice("slices", name, "web", OURS, port);
    let stolen = slice("slices", "web-1", "web", THEIRS, 20_000);
    await_policy(|| account.create(&format!("{all}?dryRun=All"), &stolen));
    assert_denied(account.create(&all, &stolen), POLICY);
    assert_denied(account.create(&all, &of_ours("web-1", 20_000)), POLICY);
    for port in [443, 19_999, 30_000] {
        assert_denied(account.create(&all, &of_ours("web-ebb", port)), POLICY);
    }
    account
        .create(&all, &of_ours("web-ebb", 20_000))
        .expect("its job");
    let own = at("web-ebb");
    for patch in [
        json!({"metadata": {"labels": {MANAGED_BY: THEIRS}}}),
        json!({"metadata": {"labels": {SERVICE: "another"}}}),
        json!({"ports": [{"name": "http", "port": 443, "protocol": "TCP"}]}),
    ] {
        assert_denied(account.merge(&own, &patch), POLICY);
    }
    let empty = account.merge(&own, &json!({"endpoints": []}));
    empty.expect("its job");
    // The account must be able to revert changes that another client made to Ebb's slice.
    let at_own = format!("{own}?fieldManager=ebb-autoscaler&force=true");
    let apply = || {
        let slice = of_ours("web-ebb", 20_000);
        account.ask("PATCH", &at_own, "application/apply-patch+yaml", &slice)
    };
    apply().expect("its job");
    for label in [SERVICE, MANAGED_BY] {
        let taken = json!({"metadata": {"labels": {label: "another"}}});
        everybody.merge(&own, &taken).expect("an administrator");
        let back = apply().expect("its job");
        assert_ne!(back["metadata"]["labels"][label], "another");
    }
    account.delete(&own).expect("its job");
    // The account must not be able to change slices of another manager, even if they have the name of Ebb's slice.
    for name in ["web-abcde", "web-ebb"] {
        everybody.apply(&slice("slices", name, "web", THEIRS, 8_080));
        let taken = json!({"metadata": {"labels": {MANAGED_BY: OURS}}});
        assert_denied(account.merge(&at(name), &taken), POLICY);
        assert_denied(account.delete(&at(name)), POLICY);
        everybody.delete(&at(name)).expect("an administrator");
    }
}

/// The test grants the account all ConfigMaps of the namespace, because RBAC cannot restrict the names of created
/// objects. Only the admission policy restricts the account.
fn config_maps() {
    const POLICY: &str = "ebb-autoscaler-records";
    let cluster = installed();
    let (account, everybody) = (cluster.api_as("ebb-autoscaler"), cluster.api());
    let metadata = json!({"name": "config-maps-of-a-test", "namespace": SYSTEM});
    everybody.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}],
    }));
    everybody.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "ebb-autoscaler", "namespace": SYSTEM}],
    }));
    let at = |name| path("v1", "ConfigMap", SYSTEM, name);
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let all = at("");
    let record = "ebb-ports.shop";
    // The test retries, because a new RoleBinding takes some time to be in force.
    eventually("its job", SOON, || account.create(&all, &map(record)).ok());
    await_policy(|| account.create(&format!("{all}?dryRun=All"), &map("another")));
    assert_denied(account.create(&all, &map("another")), POLICY);
    let patch = json!({"data": {"key": "value"}});
    assert_denied(account.merge(&at("config-autoscaler"), &patch), POLICY);
    assert_denied(account.delete(&at("config-autoscaler")), POLICY);
    account.merge(&at(record), &patch).expect("its job");
    account.delete(&at(record)).expect("its job");
    let role = path(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        SYSTEM,
        "config-maps-of-a-test",
    );
    everybody.delete(&role).unwrap();
}

fn secrets() {
    let cluster = installed();
    let account = cluster.api_as("ebb-autoscaler");
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "stolen",
            "annotations": {"kubernetes.io/service-account.name": "ebb-agent"},
        },
    });
    for namespace in [SYSTEM, "kube-system"] {
        let all = path("v1", "Secret", namespace, "");
        assert_forbidden(account.create(&all, &token));
        assert_forbidden(account.get(&all));
    }
    // The account must not be able to change its own Secret to the type of Secret into which the API server writes a
    // token.
    let own = path("v1", "Secret", SYSTEM, "ebb-autoscaler-tls");
    let mut secret = account.get(&own).expect("its own");
    secret["type"] = token["type"].clone();
    secret["metadata"]["annotations"] = token["metadata"]["annotations"].clone();
    let refused = account.ask("PUT", &own, "application/json", &secret);
    let refused = refused.expect_err("not refused");
    assert_eq!(refused.code, 422, "{refused:?}");
}

/// Checks an installation in another namespace and with a name prefix: the policies apply to the service accounts of
/// this installation.
fn another_namespace() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let (base, activator) = (
        manifests::from(folder.path(), "deploy/base"),
        manifests::from(folder.path(), "deploy/components/activator"),
    );
    let kustomization = json!({
        "resources": [base], "components": [activator],
        "namespace": "platform", "namePrefix": "team-",
    });
    std::fs::write(
        folder.path().join("kustomization.yaml"),
        kustomization.to_string(),
    )
    .unwrap();
    let output = Command::new(kubectl().expect("it is asked for"))
        .arg("kustomize")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    cluster.namespace("platform");
    for object in manifests::parse(&String::from_utf8_lossy(&output.stdout)).unwrap() {
        cluster.api().apply(&object);
    }
    let token = cluster
        .api()
        .token("platform", "team-ebb-autoscaler", None, None);
    let account = cluster.api_with(&token);
    only_the_cost(cluster.api(), &account, &pod(cluster.api(), "default"));
    let all = path("discovery.k8s.io/v1", "EndpointSlice", "default", "");
    let stolen = slice("default", "web-1", "web", "tenant.example", 20_000);
    await_policy(|| account.create(&format!("{all}?dryRun=All"), &stolen));
    assert_denied(account.create(&all, &stolen), "ebb-autoscaler-slices");
}
