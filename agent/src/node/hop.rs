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

/// The variable in which Istio tells its sidecar how connections are redirected, and the annotation with which a pod
/// selects that (<https://istio.io/latest/docs/reference/config/annotations/#SidecarInterceptionMode>).
const INTERCEPTION_VARIABLE: &str = "ISTIO_META_INTERCEPTION_MODE";
const INTERCEPTION_ANNOTATION: &str = "sidecar.istio.io/interceptionMode";

/// The value for redirection without a change of the destination: the sidecar's socket and the application's socket
/// then have the same port.
const TPROXY: &str = "TPROXY";

/// The annotations that Istio and Linkerd add to a pod into which they have put a sidecar.
const MESH_ANNOTATIONS: [&str; 2] = ["sidecar.istio.io/status", "linkerd.io/proxy-version"];

/// The fields of a container that are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    name: String,
    ports: Vec<Port>,
    env: Vec<Variable>,
    restart_policy: Option<String>,
}

/// The fields of a container's environment variable that are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// The fields of a container's port that are parsed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    container_port: u16,
    protocol: Option<String>,
}

/// The connections of a pod on which its requests are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CountedHop {
    /// Only connections to these ports; none: to every port that listens.
    pub(super) ports: Vec<u16>,
    /// Only connections from inside the pod.
    pub(super) only_inside: bool,
}

/// Returns the connections on which the requests of a pod are counted. `given` is the value of `ebb.dev/hop`.
///
/// # Errors
/// The annotation asks for the application's hop, but no container declares a port. The string says what to do.
pub(super) fn counted(
    given: Option<Hop>,
    annotations: Option<&BTreeMap<String, String>>,
    containers: &[Container],
    init_containers: &[Container],
) -> Result<CountedHop, String> {
    let has_annotation = annotations.is_some_and(|annotations| {
        MESH_ANNOTATIONS
            .iter()
            .any(|key| annotations.contains_key(*key))
    });
    // A native sidecar is an init container that is restarted always (Kubernetes 1.29).
    let native = init_containers
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let is_sidecar = |container: &&Container| SIDECARS.contains(&container.name.as_str());
    let sidecar = containers.iter().chain(native).find(is_sidecar);
    let has_sidecar = has_annotation || sidecar.is_some();
    let hop = given.unwrap_or(if has_sidecar { Hop::App } else { Hop::Edge });
    if hop == Hop::Edge {
        return Ok(CountedHop::default());
    }
    let only_inside = sidecar.is_some_and(Container::uses_tproxy)
        || annotations
            .and_then(|annotations| annotations.get(INTERCEPTION_ANNOTATION))
            .is_some_and(|mode| mode == TPROXY);
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
    if ports.is_empty() {
        return Ok(CountedHop::default());
    }
    Ok(CountedHop { ports, only_inside })
}

impl Container {
    /// Returns whether connections are redirected to this sidecar without a change of their address.
    fn uses_tproxy(&self) -> bool {
        self.env
            .iter()
            .any(|variable| variable.name == INTERCEPTION_VARIABLE && variable.value == TPROXY)
    }
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
            counted(None, None, &all, &[]),
            counted(None, None, &alone, &containers(json!([native]))),
            counted(None, Some(&annotated), &alone, &[]),
            counted(Some(Hop::App), None, &alone, &[]),
        ] {
            let found = found.unwrap();
            assert_eq!(found.ports, [8080, 8443]);
            assert!(!found.only_inside);
        }
    }

    #[test]
    fn other_pods_are_counted_at_the_edge() {
        let alone = containers(json!([app()]));
        let init = containers(json!([{"name": "istio-proxy"}]));
        let mesh = containers(json!([app(), {"name": "istio-proxy"}]));
        for found in [
            counted(None, None, &alone, &[]),
            // An init container that ends is no sidecar.
            counted(None, None, &alone, &init),
            counted(Some(Hop::Edge), None, &mesh, &[]),
        ] {
            assert_eq!(found.unwrap(), CountedHop::default());
        }
    }

    /// With TPROXY, the socket that the sidecar accepts has the application's port, too.
    #[test]
    fn with_tproxy_only_the_sidecar_is_a_client() {
        let mode = |mode: &str| {
            let env = json!([{"name": "POD", "valueFrom": {}}, {"name": INTERCEPTION_VARIABLE, "value": mode}]);
            containers(json!([app(), {"name": "istio-proxy", "env": env}]))
        };
        assert!(
            counted(None, None, &mode("TPROXY"), &[])
                .unwrap()
                .only_inside
        );
        assert!(
            !counted(None, None, &mode("REDIRECT"), &[])
                .unwrap()
                .only_inside
        );
        let undeclared = containers(json!([{"name": "app"}]));
        let annotations = BTreeMap::from([
            (INTERCEPTION_ANNOTATION.to_owned(), TPROXY.to_owned()),
            ("sidecar.istio.io/status".to_owned(), "{}".to_owned()),
        ]);
        let found = counted(None, Some(&annotations), &undeclared, &[]);
        assert_eq!(found.unwrap(), CountedHop::default());
        let edge = counted(Some(Hop::Edge), None, &mode("TPROXY"), &[]);
        assert_eq!(edge.unwrap(), CountedHop::default());
        let key = INTERCEPTION_ANNOTATION.to_owned();
        let annotated = BTreeMap::from([(key, TPROXY.to_owned())]);
        let found = counted(
            Some(Hop::App),
            Some(&annotated),
            &containers(json!([app()])),
            &[],
        );
        assert!(found.unwrap().only_inside);
    }

    #[test]
    fn an_application_without_a_port_is_named() {
        let mesh = containers(json!([{"name": "app"}, {"name": "istio-proxy"}]));
        assert!(counted(None, None, &mesh, &[]).unwrap().ports.is_empty());
        let why = counted(Some(Hop::App), None, &mesh, &[]).unwrap_err();
        assert!(
            why.contains("containerPort") && why.contains("ebb.dev/ports"),
            "{why}"
        );
    }
}
