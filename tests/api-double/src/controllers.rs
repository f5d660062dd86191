//! The controllers of the API double. They create ReplicaSets for Deployments and pods for ReplicaSets, and bind pods
//! to nodes.
//!
//! These controllers are far simpler than the real controllers. But they remove surplus pods in the same order, because
//! the autoscaler relies on this order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::kinds::Kind;
use super::store::{Inner, Key, Store, key_of, owners};

/// The label by which a Deployment's controller marks the pods of one template.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation that decides which pods a ReplicaSet removes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Pause between two passes over all objects. Without a pause, hundreds of pods that become ready one after another
/// would cause hundreds of passes.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs the controllers as long as the store exists. While the API server is down, they change nothing: real
/// controllers are clients of the API server.
pub(super) async fn run(store: Arc<Store>, mut up: watch::Receiver<bool>) {
    let mut changes = store.changes();
    loop {
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
        changes.borrow_and_update();
        store.with(reconcile);
        // All changes during the pause are handled in one pass. A real controller's queue merges changes in the same
        // way.
        tokio::time::sleep(PAUSE).await;
        // Every change of an object causes a pass, also a change that the previous pass made.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn reconcile(inner: &mut Inner) {
    inner.finish_namespaces();
    for deployment in all(inner, "apps/deployments") {
        roll_out(inner, &deployment);
    }
    for set in all(inner, "apps/replicasets") {
        fill(inner, &set);
    }
    for set in all(inner, "apps/statefulsets") {
        fill_in_order(inner, &set);
    }
    schedule(inner);
    for service in all(inner, "services") {
        publish(inner, &service);
    }
}

/// Writes the EndpointSlice of a Service that has a selector. The slice contains the selected pods that have an IP
/// address, with their conditions.
fn publish(inner: &mut Inner, service: &Value) {
    let Some(selector) = service["spec"]["selector"].as_object() else {
        return;
    };
    let namespace = text(&service["metadata"]["namespace"]).to_owned();
    let pods = inner.list("pods", Some(&namespace)).filter(|pod| {
        let labels = &pod["metadata"]["labels"];
        selector.iter().all(|(key, value)| labels[key] == *value)
    });
    let endpoints: Vec<_> = pods
        .filter(|pod| pod["status"]["podIP"].is_string())
        .map(|pod| {
            let ends = !pod["metadata"]["deletionTimestamp"].is_null();
            let ready = is_ready(pod);
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": ready && !ends, "serving": ready, "terminating": ends},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
            })
        })
        .collect();
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports: Vec<_> = ports
        .filter_map(|port| {
            let target = match &port["targetPort"] {
                Value::Null => &port["port"],
                target => target,
            };
            // A named target port is skipped: it refers to a container port, and the tests' pods declare none.
            target.is_number().then(|| {
                json!({
                    "name": text(&port["name"]), "port": target, "protocol": "TCP", "appProtocol": port["appProtocol"],
                })
            })
        })
        .collect();
    let name = format!("{}-double", text(&service["metadata"]["name"]));
    let key = (
        "discovery.k8s.io/endpointslices".to_owned(),
        namespace.clone(),
        name.clone(),
    );
    if inner.get(&key).is_ok() {
        set_field(inner, &key, |slice| {
            slice["ports"] = ports.into();
            slice["endpoints"] = endpoints.into();
        });
        return;
    }
    let kind = kind(inner, "discovery.k8s.io", "endpointslices");
    let slice = json!({
        "metadata": {
            "name": name, "ownerReferences": reference(service),
            "labels": {
                "kubernetes.io/service-name": service["metadata"]["name"],
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    });
    inner.create(&kind, &namespace, slice).ok();
}

fn all(inner: &Inner, resource: &str) -> Vec<Arc<Value>> {
    inner.shared(resource, None).cloned().collect()
}

fn owned(inner: &Inner, resource: &str, owner: &Value) -> Vec<Arc<Value>> {
    let uid = &owner["metadata"]["uid"];
    let within = owner["metadata"]["namespace"].as_str();
    let objects = inner.shared(resource, within);
    objects
        .filter(|object| owners(object).any(|owner| owner["uid"] == *uid))
        .cloned()
        .collect()
}

fn reference(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": true,
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
    }])
}

fn roll_out(inner: &mut Inner, deployment: &Value) {
    let template = &deployment["spec"]["template"];
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    let hash = format!("{:08x}", hasher.finish() as u32);
    let name = format!("{}-{hash}", text(&deployment["metadata"]["name"]));
    let replicas = &deployment["spec"]["replicas"];
    let replicas = replicas.as_u64().unwrap_or(1);
    let mut current = false;
    let sets = owned(inner, "apps/replicasets", deployment);
    let is_current = |set: &Arc<Value>| set["metadata"]["name"] == *name;
    let serving = sets.iter().filter(|set| is_current(set));
    let serving = serving.flat_map(|set| present(inner, set));
    // For each new pod that becomes ready, one old pod is removed, as in a rolling update with `maxSurge: 100%`.
    let mut old = replicas.saturating_sub(serving.filter(|pod| is_ready(pod)).count() as u64);
    for set in sets {
        let is_current = is_current(&set);
        current |= is_current;
        let wanted = if is_current {
            replicas
        } else {
            let kept = set["spec"]["replicas"].as_u64().unwrap_or(0).min(old);
            old -= kept;
            kept
        };
        set_field(inner, &key_of("apps/replicasets", &set), |set| {
            set["spec"]["replicas"] = wanted.into()
        });
    }
    if !current {
        let kind = kind(inner, "apps", "replicasets");
        let mut template = template.clone();
        template["metadata"]["labels"][TEMPLATE_HASH] = hash.into();
        let set = json!({
            "metadata": {
                "name": name, "labels": template["metadata"]["labels"], "ownerReferences": reference(deployment),
            },
            "spec": {"replicas": replicas, "selector": deployment["spec"]["selector"], "template": template},
        });
        inner
            .create(&kind, text(&deployment["metadata"]["namespace"]), set)
            .ok();
    }
    let (mut pods, mut ready) = (0, 0);
    for set in owned(inner, "apps/replicasets", deployment) {
        let present = present(inner, &set);
        pods += present.len();
        ready += present.iter().filter(|pod| is_ready(pod)).count();
    }
    let generation = deployment["metadata"]["generation"].clone();
    set_field(
        inner,
        &key_of("apps/deployments", deployment),
        |deployment| {
            deployment["status"] =
                json!({"observedGeneration": generation, "replicas": pods, "readyReplicas": ready});
        },
    );
}

/// Returns the pods of a set that are not being deleted.
fn present(inner: &Inner, set: &Value) -> Vec<Arc<Value>> {
    let pods = owned(inner, "pods", set);
    pods.into_iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect()
}

fn fill(inner: &mut Inner, set: &Value) {
    let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
    let mut pods = present(inner, set);
    let kind = kind(inner, "", "pods");
    for _ in pods.len()..wanted {
        let pod = pod_of(
            set,
            json!({"generateName": format!("{}-", text(&set["metadata"]["name"]))}),
        );
        inner
            .create(&kind, text(&set["metadata"]["namespace"]), pod)
            .ok();
    }
    pods.sort_by_cached_key(|pod| rank(pod));
    let surplus = pods.len().saturating_sub(wanted);
    for pod in &pods[..surplus] {
        inner.delete(&key_of("pods", pod), None).ok();
    }
}

fn fill_in_order(inner: &mut Inner, set: &Value) {
    let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let kind = kind(inner, "", "pods");
    let name = text(&set["metadata"]["name"]);
    for pod in present(inner, set) {
        let ordinal = text(&pod["metadata"]["name"])
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        if ordinal.is_none_or(|ordinal| ordinal >= wanted) {
            inner.delete(&key_of("pods", &pod), None).ok();
        }
    }
    for ordinal in 0..wanted {
        let pod = pod_of(set, json!({"name": format!("{name}-{ordinal}")}));
        // An error means that the pod exists already, so it is ignored.
        inner
            .create(&kind, text(&set["metadata"]["namespace"]), pod)
            .ok();
    }
}

fn pod_of(set: &Value, mut metadata: Value) -> Value {
    let template = &set["spec"]["template"];
    metadata["labels"] = template["metadata"]["labels"].clone();
    metadata["annotations"] = template["metadata"]["annotations"].clone();
    metadata["ownerReferences"] = reference(set);
    json!({"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
}

/// Returns the sort key of a pod for removal. Removal begins with unbound pods, then pods that are not ready, then pods
/// with the lowest deletion cost, then the youngest pods.
fn rank(pod: &Value) -> (bool, bool, i64, std::cmp::Reverse<String>) {
    let cost = text(&pod["metadata"]["annotations"][DELETION_COST]);
    (
        !pod["spec"]["nodeName"].is_null(),
        is_ready(pod),
        cost.parse().unwrap_or(0),
        std::cmp::Reverse(text(&pod["metadata"]["uid"]).to_owned()),
    )
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|is| is["type"] == "Ready" && is["status"] == "True")
}

/// Binds each unbound pod to a node: among the nodes that its `nodeSelector` allows, the node with the fewest pods.
fn schedule(inner: &mut Inner) {
    let mut load: HashMap<String, (usize, Value)> = HashMap::new();
    for node in inner.list("nodes", None) {
        let labels = node["metadata"]["labels"].clone();
        load.insert(text(&node["metadata"]["name"]).to_owned(), (0, labels));
    }
    let mut waiting = Vec::new();
    for pod in inner.list("pods", None) {
        match pod["spec"]["nodeName"].as_str() {
            // A pod is counted for its node. A pod that is bound to an unregistered node is ignored.
            Some(node) => {
                if let Some((pods, _)) = load.get_mut(node) {
                    *pods += 1;
                }
            }
            None => waiting.push((key_of("pods", pod), pod["spec"]["nodeSelector"].clone())),
        }
    }
    for (key, selector) in waiting {
        let allowed = |labels: &Value| {
            let mut wanted = selector.as_object().into_iter().flatten();
            wanted.all(|(label, value)| labels[label] == *value)
        };
        let found = load
            .iter_mut()
            .filter(|(_, (_, labels))| allowed(labels))
            .min_by_key(|(node, (pods, _))| (*pods, (*node).clone()));
        let Some((node, (pods, _))) = found else {
            continue;
        };
        *pods += 1;
        let node = node.clone();
        set_field(inner, &key, |pod| pod["spec"]["nodeName"] = node.into());
    }
}

fn set_field(inner: &mut Inner, key: &Key, set: impl FnOnce(&mut Value)) {
    let changed = inner.update(key, |object| {
        let mut object = object.clone();
        set(&mut object);
        Ok(object)
    });
    changed.ok();
}

fn kind(inner: &Inner, group: &str, plural: &str) -> Kind {
    inner
        .kinds
        .find(group, "v1", plural)
        .expect("a built-in kind")
        .clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
