//! The sidecars that meshes and other systems inject into pods, and what follows from each of them for counting.
//!
//! Bias: a sidecar is recognised by a name or an annotation that only its injector writes. So a container with a common
//! name (`envoy`, `nginx`, `oauth2-proxy`) is not recognised; such a pod needs `ebb.dev/hop`. Failure mode: a pod with
//! an unknown sidecar is counted at the edge.
//!
//! Not in the table:
//! - Istio's ambient mode and Cilium have no sidecar. Their proxies run in pods of the node, and the application gets
//!   plain HTTP from outside its pod
//!   (<https://istio.io/latest/docs/ambient/architecture/traffic-redirection/>).
//! - Open Service Mesh was archived in 2023 (<https://github.com/openservicemesh/osm>). AWS App Mesh ended on 30
//!   September 2026 (<https://aws.amazon.com/blogs/containers/migrating-from-aws-app-mesh-to-amazon-ecs-service-connect>).
//!   Both call their container `envoy`.

use std::collections::BTreeMap;

use super::container::Container;

/// A sidecar: how it is recognised, and how requests reach the application through it.
#[derive(Debug)]
pub(super) struct Sidecar {
    /// The name: the reason in metrics, in reports and on the page.
    pub(super) name: &'static str,
    /// The name of the container.
    container: Name,
    /// An annotation that the injector adds to the pod, and its value. A value of `None` matches every value.
    annotation: Option<(&'static str, Option<&'static str>)>,
    /// An annotation with the application's ports, separated by commas.
    app_ports: Option<&'static str>,
    /// The mark of a sidecar whose inbound sockets have the application's port.
    transparent: Option<Transparent>,
    /// The ports at which the sidecar queues requests for the application. Requests are counted there, because a queued
    /// request is in flight. Empty: the sidecar does not queue requests.
    pub(super) queue_ports: &'static [u16],
}

/// How a container is recognised by its name.
#[derive(Debug)]
enum Name {
    Is(&'static str),
    /// The name, or the name followed by a hyphen and anything.
    StartsWith(&'static str),
}

/// Redirection without a change of the destination (TPROXY): the sidecar's sockets and the application's sockets then
/// have the same port, and only the client tells them apart.
#[derive(Debug)]
struct Transparent {
    /// The variable of the sidecar with the mode of redirection.
    variable: &'static str,
    /// The annotation of the pod that selects the mode.
    annotation: &'static str,
    /// The mode.
    mode: &'static str,
}

/// A row with no further rule.
const PLAIN: Sidecar = Sidecar {
    name: "",
    container: Name::Is(""),
    annotation: None,
    app_ports: None,
    transparent: None,
    queue_ports: &[],
};

/// The known sidecars. If a pod has several of them, the first one is the reason.
const SIDECARS: [Sidecar; 6] = [
    // Istio, and what is built on it: Google Cloud Service Mesh, Alibaba Cloud Service Mesh, OpenShift Service Mesh and
    // the Istio add-on of AKS. The default mode is REDIRECT
    // (<https://istio.io/latest/docs/ops/deployment/application-requirements/>,
    // <https://istio.io/latest/docs/reference/config/annotations/#SidecarInterceptionMode>).
    Sidecar {
        name: "istio",
        container: Name::Is("istio-proxy"),
        annotation: Some(("sidecar.istio.io/status", None)),
        transparent: Some(Transparent {
            variable: "ISTIO_META_INTERCEPTION_MODE",
            annotation: "sidecar.istio.io/interceptionMode",
            mode: "TPROXY",
        }),
        ..PLAIN
    },
    // Linkerd. Its proxy-init redirects to the proxy's port
    // (<https://linkerd.io/2/reference/proxy-configuration/>).
    Sidecar {
        name: "linkerd",
        container: Name::Is("linkerd-proxy"),
        annotation: Some(("linkerd.io/proxy-version", None)),
        ..PLAIN
    },
    // Consul. A pod with several services has one proxy for each: `consul-dataplane-NAME`. What Consul calls a
    // transparent proxy is a redirection with REDIRECT to the proxy's port. The injector writes the application's port
    // into an annotation, as a number or as the name of a declared port
    // (<https://developer.hashicorp.com/consul/docs/k8s/annotations-and-labels>,
    // <https://github.com/hashicorp/consul-k8s>: control-plane/connect-inject/webhook/consul_dataplane_sidecar.go).
    Sidecar {
        name: "consul",
        container: Name::StartsWith("consul-dataplane"),
        annotation: Some((
            "consul.hashicorp.com/connect-inject-status",
            Some("injected"),
        )),
        app_ports: Some("consul.hashicorp.com/connect-service-port"),
        ..PLAIN
    },
    // Kuma and Kong Mesh. Inbound connections are redirected with REDIRECT to port 15006
    // (<https://github.com/kumahq/kuma>: pkg/plugins/runtime/k8s/metadata/annotations.go,
    // <https://developer.konghq.com/mesh/annotations>).
    Sidecar {
        name: "kuma",
        container: Name::Is("kuma-sidecar"),
        annotation: Some(("kuma.io/sidecar-injected", Some("true"))),
        ..PLAIN
    },
    // Dapr. Nothing is redirected: requests from outside arrive at the application's port, and calls of other
    // applications arrive with TLS at the sidecar, which calls the application at `dapr.io/app-port`. Both count at the
    // application; its own calls to the sidecar do not. The annotation `dapr.io/enabled` is no mark, because users
    // write it, and it stays if nothing is injected
    // (<https://docs.dapr.io/reference/arguments-annotations-overview/>,
    // <https://github.com/dapr/dapr>: pkg/injector/patcher/sidecar_container.go).
    Sidecar {
        name: "dapr",
        container: Name::Is("daprd"),
        app_ports: Some("dapr.io/app-port"),
        ..PLAIN
    },
    // Knative Serving. Requests arrive at the queue-proxy, by HTTP/1, HTTP/2 or TLS. It queues them above the limit of
    // the revision, and Knative's own autoscaler counts them there. Its other ports serve metrics and hooks
    // (<https://github.com/knative/serving>: pkg/reconciler/revision/resources/queue.go, pkg/networking/constants.go).
    Sidecar {
        name: "knative",
        container: Name::Is("queue-proxy"),
        queue_ports: &[8012, 8013, 8112],
        ..PLAIN
    },
];

/// Returns the sidecar that a container is; `None` for a container of the application.
pub(super) fn of_container(container: &Container) -> Option<&'static Sidecar> {
    SIDECARS
        .iter()
        .find(|sidecar| sidecar.container.is(&container.name))
}

/// Returns the sidecars of a pod with these running containers, in the order of the table.
pub(super) fn of_pod(
    annotations: &BTreeMap<String, String>,
    running: &[&Container],
) -> Vec<&'static Sidecar> {
    SIDECARS
        .iter()
        .filter(|sidecar| {
            let is_injected = sidecar.annotation.is_some_and(|(key, value)| {
                let given = annotations.get(key);
                given.is_some_and(|given| value.is_none_or(|value| given == value))
            });
            let is_running = |container: &&Container| sidecar.container.is(&container.name);
            is_injected || running.iter().any(is_running)
        })
        .collect()
}

impl Sidecar {
    /// Returns whether the sidecar of this pod accepts connections at the application's ports.
    pub(super) fn is_transparent(
        &self,
        annotations: &BTreeMap<String, String>,
        running: &[&Container],
    ) -> bool {
        self.transparent.as_ref().is_some_and(|transparent| {
            let mode = transparent.mode;
            let selects = annotations
                .get(transparent.annotation)
                .is_some_and(|given| given == mode);
            let runs = running.iter().any(|container| {
                self.container.is(&container.name)
                    && container.has_variable(transparent.variable, mode)
            });
            selects || runs
        })
    }

    /// Returns the application's ports that the sidecar's annotation names by number. Ports that it names by name are
    /// declared by a container.
    pub(super) fn app_ports(&self, annotations: &BTreeMap<String, String>) -> Vec<u16> {
        let named = self.app_ports.and_then(|key| annotations.get(key));
        let ports = named.into_iter().flat_map(|ports| ports.split(','));
        ports
            .filter_map(|port| port.trim().parse().ok())
            .filter(|port| *port != 0)
            .collect()
    }
}

impl Name {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Is(expected) => name == *expected,
            Self::StartsWith(start) => name
                .strip_prefix(start)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_name_and_a_mark_of_its_own() {
        for (index, sidecar) in SIDECARS.iter().enumerate() {
            let (Name::Is(container) | Name::StartsWith(container)) = sidecar.container;
            assert!(!sidecar.name.is_empty() && !container.is_empty());
            let first = SIDECARS
                .iter()
                .position(|other| other.name == sidecar.name || other.container.is(container));
            assert_eq!(first, Some(index), "{}", sidecar.name);
        }
    }

    #[test]
    fn a_name_is_matched_as_a_whole_or_up_to_a_hyphen() {
        let name = Name::StartsWith("consul-dataplane");
        assert!(name.is("consul-dataplane") && name.is("consul-dataplane-web-admin"));
        assert!(!name.is("consul-dataplanes") && !name.is("my-consul-dataplane"));
        assert!(!Name::Is("daprd").is("daprd-2"));
    }
}
