//! The hop at which the requests of a pod with a sidecar are counted.
//!
//! A mesh puts a sidecar into the pod, and redirects the pod's connections to it. From outside, TLS arrives at the
//! sidecar; the application gets plain HTTP from the sidecar. So the requests of such a pod are counted at the ports of
//! the application. Bias: a pod without a known sidecar is counted at the edge. Failure mode: if the application
//! declares no port, its pod is counted at the edge, where TLS is opaque.

use std::collections::BTreeMap;

use ebb_autoscaler_core::annotations::Hop;
use serde::Deserialize;

/// The names of the containers that Istio and Linkerd add to a pod
/// (<https://istio.io/latest/docs/ops/deployment/application-requirements/>,
/// <https://linkerd.io/2/reference/proxy-configuration/>).
const SIDECARS: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// The annotations that Istio and Linkerd add to a pod into which they have put a sidecar.
const MESH_ANNOTATIONS: [&str; 2] = ["sidecar.istio.io/status", "linkerd.io/proxy-version"];

/// The fields of a container that are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    name: String,
    ports: Vec<Port>,
    restart_policy: Option<String>,
}

/// The fields of a container's port that are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    container_port: u16,
    protocol: Option<String>,
}

/// Returns the ports at which the requests of a pod are counted; none if they are counted at the edge. `given` is the
/// value of `ebb.dev/hop`.
///
/// # Errors
/// The annotation asks for the application's hop, but no container declares a port. The string says what to do.
pub(super) fn ports(
    given: Option<Hop>,
    annotations: Option<&BTreeMap<String, String>>,
    containers: &[Container],
    init_containers: &[Container],
) -> Result<Vec<u16>, String> {
    let has_annotation = annotations.is_some_and(|annotations| {
        MESH_ANNOTATIONS
            .iter()
            .any(|key| annotations.contains_key(*key))
    });
    // A native sidecar is an init container that is restarted always (Kubernetes 1.29).
    let native = init_containers
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let is_sidecar = |container: &Container| SIDECARS.contains(&container.name.as_str());
    let has_sidecar = has_annotation || containers.iter().chain(native).any(is_sidecar);
    let hop = given.unwrap_or(if has_sidecar { Hop::App } else { Hop::Edge });
    if hop == Hop::Edge {
        return Ok(Vec::new());
    }
    let mut ports: Vec<u16> = containers
        .iter()
        .filter(|container| !is_sidecar(container))
        .flat_map(|container| &container.ports)
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
        .map(|port| port.container_port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() && given.is_some() {
        return Err(
            "ebb.dev/hop: \"app\": no container declares a port (containerPort); declare the application's port, or name \
             it in ebb.dev/ports"
                .to_owned(),
        );
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn containers(containers: Value) -> Vec<Container> {
        serde_json::from_value(containers).unwrap()
    }

    fn app() -> Value {
        json!({"name": "app", "ports": [
            {"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8443, "protocol": "TCP"},
        ]})
    }

    #[test]
    fn a_pod_of_a_mesh_is_counted_at_the_application() {
        let istio = json!({"name": "istio-proxy", "ports": [{"containerPort": 15090}]});
        let native = json!({"name": "linkerd-proxy", "restartPolicy": "Always"});
        let annotated = BTreeMap::from([("sidecar.istio.io/status".to_owned(), "{}".to_owned())]);
        let all = containers(json!([app(), istio]));
        let alone = containers(json!([app()]));
        for found in [
            ports(None, None, &all, &[]),
            ports(None, None, &alone, &containers(json!([native]))),
            ports(None, Some(&annotated), &alone, &[]),
            ports(Some(Hop::App), None, &alone, &[]),
        ] {
            assert_eq!(found.unwrap(), [8080, 8443]);
        }
    }

    #[test]
    fn other_pods_are_counted_at_the_edge() {
        let alone = containers(json!([app()]));
        let init = containers(json!([{"name": "istio-proxy"}]));
        let mesh = containers(json!([app(), {"name": "istio-proxy"}]));
        for found in [
            ports(None, None, &alone, &[]),
            // An init container that ends is no sidecar.
            ports(None, None, &alone, &init),
            ports(Some(Hop::Edge), None, &mesh, &[]),
        ] {
            assert!(found.unwrap().is_empty());
        }
    }

    #[test]
    fn an_application_without_a_port_is_named() {
        let mesh = containers(json!([{"name": "app"}, {"name": "istio-proxy"}]));
        assert!(ports(None, None, &mesh, &[]).unwrap().is_empty());
        let why = ports(Some(Hop::App), None, &mesh, &[]).unwrap_err();
        assert!(
            why.contains("containerPort") && why.contains("ebb.dev/ports"),
            "{why}"
        );
    }
}
