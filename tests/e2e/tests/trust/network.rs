//! Case T10: the NetworkPolicy limits from where each port of an activator can be reached.

use std::process::Command;

use ebb_e2e::manifests;
use ebb_fixtures::{Case, Need, kubectl};
use serde_json::{Value, json};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::t10_the_status_port_is_not_for_all",
        &[],
        status_port,
    ),
    Case::beside(
        "trust::t10_the_ports_can_be_closed_as_documented",
        &[Need::Kubectl],
        closed,
    ),
];

const POLICY: &str = "deploy/components/activator/network-policy.yaml";

/// Returns whether a port of a NetworkPolicy is the range of the proxied Service ports.
fn is_proxied_range(port: &Value) -> bool {
    port["port"] == 20_000 && port["endPort"] == 29_999
}

fn status_port() {
    for policy in manifests::objects(POLICY) {
        for rule in policy["spec"]["ingress"].as_array().unwrap() {
            let for_all = rule["from"].is_null();
            for port in rule["ports"].as_array().unwrap() {
                assert!(port["port"] != "status" || !for_all, "{policy}");
            }
        }
    }
}

/// Checks that with the kustomization in `docs/security.md`, the proxied Service ports are open only to the namespaces
/// that this kustomization selects.
fn closed() {
    const BEGIN: &str = "```yaml\n# kustomization.yaml\n";
    let text = std::fs::read_to_string(manifests::file("docs/security.md")).unwrap();
    let (_, text) = text.split_once(BEGIN).expect("a kustomization");
    let (text, _) = text.split_once("```").expect("its end");
    let mut kustomization = manifests::parse(text).unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| manifests::from(folder.path(), name);
    kustomization["resources"] = json!([place("deploy/base")]);
    kustomization["components"] = json!([place("deploy/components/activator")]);
    let file = folder.path().join("kustomization.yaml");
    std::fs::write(file, kustomization.to_string()).unwrap();
    let output = Command::new(kubectl().expect("it is asked for"))
        .arg("kustomize")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let objects = manifests::parse(&String::from_utf8_lossy(&output.stdout)).unwrap();
    let policy = objects
        .iter()
        .find(|object| {
            object["kind"] == "NetworkPolicy" && object["metadata"]["name"] == "ebb-activator"
        })
        .expect("the policy");
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let has_proxied_range = |rule: &&Value| {
        rule["ports"]
            .as_array()
            .unwrap()
            .iter()
            .any(is_proxied_range)
    };
    let proxied: Vec<_> = rules.iter().filter(has_proxied_range).collect();
    assert_eq!(proxied.len(), 1, "{policy}");
    let from = &proxied[0]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(*from, json!({"tenants": "trusted"}));
}
