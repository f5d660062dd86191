//! Finds pod templates that ask for a sidecar whose requests the agent could not count at the application.
//!
//! Bias: only an opted-in template that asks for a sidecar itself is checked. Failure mode: if the namespace asks for
//! the sidecar, the manifest of the workload does not show it; the agent then writes an Event on the pods.

use ebb_contract::{limits::MAX_PORTS, opt_in};
use serde_json::{Map, Value};

use super::object::{Object, Sort};

/// A key of a template that asks for a sidecar, and its values. Injectors accept some of the keys as labels and as
/// annotations (<https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/>,
/// <https://linkerd.io/2/reference/proxy-configuration/>,
/// <https://developer.hashicorp.com/consul/docs/k8s/annotations-and-labels>,
/// <https://developer.konghq.com/mesh/annotations>,
/// <https://docs.dapr.io/reference/arguments-annotations-overview/>).
const REQUESTS: [(&str, &[&str]); 5] = [
    ("sidecar.istio.io/inject", &["true"]),
    ("linkerd.io/inject", &["enabled", "ingress"]),
    ("consul.hashicorp.com/connect-inject", &["true"]),
    ("kuma.io/sidecar-injection", &["enabled", "true"]),
    ("dapr.io/enabled", &["true"]),
];

/// Annotations that name the application's port, so that no container has to declare it.
const PORT_KEYS: [&str; 2] = [
    "consul.hashicorp.com/connect-service-port",
    "dapr.io/app-port",
];

/// Annotations with which the user chooses what is counted.
const CHOSEN: [&str; 2] = ["ebb.dev/ports", "ebb.dev/hop"];

/// Returns the problem of the ports of an object's pod template, or `None` if there is none.
pub(super) fn problem(object: &Object) -> Option<String> {
    let template = match object.sort {
        Sort::Pod => &object.value,
        _ => object.value.pointer("/spec/template")?,
    };
    let map = |pointer: &str| template.pointer(pointer).and_then(Value::as_object);
    let annotations = map("/metadata/annotations")?;
    let opted_in = text(annotations, opt_in::CLASS_KEY);
    if !opt_in::is_opted_in(opted_in) || has_any(annotations, &CHOSEN) {
        return None;
    }
    let labels = map("/metadata/labels");
    let (key, value) = REQUESTS.iter().find_map(|(key, values)| {
        let given = [Some(annotations), labels].into_iter().flatten();
        let mut given = given.filter_map(|map| text(map, key));
        let value = given.find(|value| values.contains(value))?;
        Some((key, value))
    })?;
    let containers = template.pointer("/spec/containers")?.as_array()?;
    match tcp_ports(containers) {
        0 if !has_any(annotations, &PORT_KEYS) => Some(format!(
            "containerPort: missing; the template asks for a sidecar ({key}: {value}), and requests are counted at the \
             ports that its containers declare: declare the application's port, or name it in ebb.dev/ports; to count \
             at the edge, set ebb.dev/hop: edge"
        )),
        count if count > MAX_PORTS => Some(format!(
            "containerPort: {count} TCP ports; the template asks for a sidecar ({key}: {value}), and requests can be \
             counted at {MAX_PORTS} ports at most: name the ports that serve requests in ebb.dev/ports"
        )),
        _ => None,
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str()
}

fn has_any(annotations: &Map<String, Value>, keys: &[&str]) -> bool {
    keys.iter().any(|key| annotations.contains_key(*key))
}

/// Returns the number of different TCP ports that the containers declare.
fn tcp_ports(containers: &[Value]) -> usize {
    let ports = containers
        .iter()
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten()
        .filter(|port| {
            let protocol = port.get("protocol").and_then(Value::as_str);
            protocol.unwrap_or("TCP") == "TCP"
        })
        .filter_map(|port| port.get("containerPort")?.as_u64());
    let mut ports: Vec<_> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    ports.len()
}
