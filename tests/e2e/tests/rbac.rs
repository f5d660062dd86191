//! The RBAC permissions of Ebb's service accounts: enough for the programs, and no permission that they do not use.
//!
//! The test compares the permissions with the audit log of a real API server, because the API server double does not
//! implement RBAC.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use ebb_e2e::api::path;
use ebb_e2e::{ACCOUNT, Activator, Autoscaler, SOON, SYSTEM, install_activator, manifests};
use ebb_fixtures::{Case, Need, eventually, kubectl};
use serde_json::{Value, json};

use crate::kinds;
use crate::world::{FAST, FIVE, TEN, World, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "rbac::enough_and_no_more_than_used",
        &[Need::Kernel, Need::ControlPlane, Need::Network],
        enough_and_no_more,
    ),
    Case::beside(
        "rbac::the_docs_have_what_kubectl_says",
        &[Need::Cgroup, Need::ControlPlane, Need::Kubectl],
        documented,
    ),
];

/// The service accounts of the base installation (`BASE`), and of the base with all components (`ACCOUNTS`).
const BASE: [&str; 2] = ["ebb-agent", "ebb-autoscaler"];
const ACCOUNTS: [&str; 3] = ["ebb-agent", "ebb-autoscaler", "ebb-activator"];
/// The manifests that define the permissions.
const ROLES: [&str; 2] = [manifests::RENDERED, "deploy/components/activator/rbac.yaml"];

/// Permissions that the test does not have to use, because their use takes too long or does not appear in the audit
/// log: account, verb, resource.
const SELDOM: [(&str, &str, &str); 3] = [
    // The agent patches an Event when the Event repeats, at the earliest a minute after it was created.
    ("ebb-agent", "patch", "events.k8s.io/events"),
    // A server-side apply of a new object needs this permission, but the audit log records the request as a patch.
    (
        "ebb-autoscaler",
        "create",
        "discovery.k8s.io/endpointslices",
    ),
    // Only OpenShift requires the permission for `endpointslices/restricted`.
    (
        "ebb-autoscaler",
        "create",
        "discovery.k8s.io/endpointslices/restricted",
    ),
];

/// A permission, or the use of a permission by a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    account: &'static str,
    verb: String,
    /// Group, resource and subresource.
    resource: String,
    /// Name of the object. In a permission, an empty name means any name.
    name: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            verb,
            resource,
            name,
        } = self;
        write!(f, "{account} may {verb} {resource} {name}")
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn resource(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        group => format!("{group}/{resource}"),
    }
}

/// Returns all permissions that the manifests' roles grant. The name of each role begins with the name of the service
/// account to which the role is bound.
fn granted() -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for role in ROLES.into_iter().flat_map(manifests::objects) {
        if !matches!(role["kind"].as_str(), Some("Role" | "ClusterRole")) {
            continue;
        }
        let of = role["metadata"]["name"].as_str().unwrap();
        let account = ACCOUNTS.into_iter().find(|account| of.starts_with(account));
        let account = account.unwrap_or_else(|| panic!("{of}: whose is it?"));
        for rule in role["rules"].as_array().unwrap() {
            let names: Vec<_> = texts(&rule["resourceNames"]).collect();
            let names = if names.is_empty() { vec![""] } else { names };
            for group in texts(&rule["apiGroups"]) {
                for of in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        rights.extend(names.iter().map(|name| Right {
                            account,
                            verb: verb.to_owned(),
                            resource: resource(group, of),
                            name: (*name).to_owned(),
                        }));
                    }
                }
            }
        }
    }
    rights
}

/// Returns the permission that a request of an audit log entry used, and the status of the response.
fn asked(entry: &Value) -> Option<(Right, u64)> {
    let user = entry["user"]["username"].as_str()?;
    let account = ACCOUNTS
        .into_iter()
        .find(|account| user.ends_with(account))?;
    let object = &entry["objectRef"];
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let mut of = resource(text("apiGroup"), text("resource"));
    if !text("subresource").is_empty() {
        of = format!("{of}/{}", text("subresource"));
    }
    let right = Right {
        account,
        verb: entry["verb"].as_str()?.to_owned(),
        resource: of,
        name: text("name").to_owned(),
    };
    Some((
        right,
        entry["responseStatus"]["code"].as_u64().unwrap_or(200),
    ))
}

/// Makes Ebb send every kind of request to the API server, and compares the permissions used with the permissions
/// granted.
fn enough_and_no_more() {
    let world = World::before(&["first"], &[ACCOUNT], |cluster| {
        install_activator(cluster.api());
        kinds::define(cluster.api(), "keda.sh", "v1alpha1", "ScaledObject");
    });
    everything(&world);
    let entries = world.cluster.audit();
    let asked: Vec<_> = entries.iter().filter_map(asked).collect();
    let refused: BTreeSet<_> = asked
        .iter()
        .filter(|(_, status)| *status == 403)
        .map(|(right, _)| right.to_string())
        .collect();
    assert!(refused.is_empty(), "not enough: {refused:#?}");
    let is_used = |right: &Right| {
        asked.iter().any(|(used, _)| {
            let named = right.name.is_empty() || right.name == used.name;
            named
                && (right.account, &right.verb, &right.resource)
                    == (used.account, &used.verb, &used.resource)
        })
    };
    let seldom = |right: &Right| {
        let key = (right.account, &*right.verb, &*right.resource);
        SELDOM.contains(&key)
    };
    let unused: Vec<_> = granted()
        .into_iter()
        .filter(|right| !is_used(right) && !seldom(right))
        .map(|right| right.to_string())
        .collect();
    assert!(unused.is_empty(), "more than used: {unused:#?}");
}

fn everything(world: &World) {
    in_the_path(world);
    // Every kind of workload is scaled up and down. On the scale-down, pods get the deletion-cost annotation.
    let traffic = {
        let app = world.app("rights", "web", 1, &[FAST, TEN]);
        let traffic = app.traffic(FIVE);
        traffic.set(FIVE);
        app.await_replicas(SOON, |replicas| replicas > 1);
        kinds::stateful_set_in(world, "rights-ordered");
        kinds::replica_set_in(world, "rights-bare");
        kinds::custom_in(world, "rights-custom");
        app.await_steady(4..=6);
        traffic.set(0);
        app.await_replicas(SOON, |replicas| replicas == 1);
        traffic
    };
    traffic.assert_all_ok();
    // The invalid mode makes the autoscaler send an Event. The mode is corrected and made invalid again, so the
    // autoscaler sends the same Event again.
    let app = world.app("rights", "bad", 1, &[("ebb.dev/mode", "nonsense")]);
    app.await_event("InvalidAnnotations");
    for (mode, refused) in [(Value::Null, false), ("nonsense".into(), true)] {
        let annotations = json!({"ebb.dev/mode": mode});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        world.api().merge(&app.path(), &patch).unwrap();
        eventually("judged again", SOON, || {
            ((app.view()["mode"] == "not_scaled") == refused).then_some(())
        });
    }
    // The replica `other` needs a certificate with another host name, and the test has overwritten the published
    // certificate authority. For each of these two reasons, the replica sends requests whose permissions the test must
    // see.
    let authority = path("v1", "ConfigMap", SYSTEM, "ebb-autoscaler-ca");
    let changed = json!({"data": {"ca.crt": "nonsense"}});
    world.api().merge(&authority, &changed).unwrap();
    let other = Autoscaler::start(&world.cluster, "other", &["--tls-names", "localhost,other"]);
    other.finish();
    // An agent on a kernel that is too old cannot count, so it sends an Event.
    crate::unavailable::old_kernel_in(world);
}

/// An activator enters the request path of a Service. Then the Service's workload is deleted, and Ebb deletes its
/// EndpointSlice.
fn in_the_path(world: &World) {
    let activator = Activator::start(&world.cluster, "activator-a", world.replica(), &[]);
    let app = world.app("rights-path", "web", 1, &[FAST]);
    world.api().apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "rights-path"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    eventually("an activator is in the request path", SOON, || {
        (app.view()["path_confirmed"] == true).then_some(())
    });
    drop(app);
    let slice = path(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "rights-path",
        "web-ebb",
    );
    eventually("the slice gone", SOON, || {
        world.api().get(&slice).is_err().then_some(())
    });
    drop(activator);
}

/// Checks the permissions in the documentation: for each service account the output of `kubectl auth can-i --list`,
/// without the permissions that every account has.
fn documented() {
    let world = shared();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, world.api().kubeconfig()).unwrap();
    let docs = std::fs::read_to_string(manifests::file("docs/kubernetes.md")).unwrap();
    let list = |account: &str| {
        let account = format!("--as=system:serviceaccount:{SYSTEM}:{account}");
        let output = Command::new(kubectl().expect("it is asked for"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["auth", "can-i", "--list", "-n", SYSTEM, &account])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(single_spaced).collect::<BTreeSet<_>>()
    };
    let everybody = list("somebody");
    for account in BASE {
        let theirs: BTreeSet<_> = list(account).difference(&everybody).cloned().collect();
        let told = block(&docs, account);
        assert!(
            theirs == told,
            "docs/kubernetes.md, of {account}: {told:#?}\nkubectl: {theirs:#?}"
        );
    }
}

/// Returns the lines of the block in the documentation that begins with the command for a service account.
fn block(docs: &str, account: &str) -> BTreeSet<String> {
    let command = format!("--as system:serviceaccount:{SYSTEM}:{account}");
    let mut lines = docs.lines().skip_while(|line| !line.ends_with(&command));
    lines.next();
    lines
        .take_while(|line| !line.starts_with("```"))
        .filter(|line| !line.starts_with("Resources "))
        .map(single_spaced)
        .collect()
}

fn single_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
