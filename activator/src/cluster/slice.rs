//! What an EndpointSlice says to an activator. Pure.
//!
//! Two kinds matter: those that this project manages allot ports and say who is in the path, all others say where pods
//! are ready. Bias: what cannot be read (another kind of address, a port without a number) is passed over, never guessed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

use crate::Protocol;

/// Names the Service of a slice.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";
/// Names who writes a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "ebb.dev";
/// On our slices: the most requests on a pod at a time.
const HARD_LIMIT: &str = "ebb.dev/hard-limit";
/// On our slices: the Service whose slices say where the pods are, if it is another one.
const PODS_OF: &str = "ebb.dev/pods-of";

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A slice, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) service: Service,
    pub(super) says: Says,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// One of ours.
    Allotted(Allotted),
    /// Where pods are ready, by name of the port.
    Ready(BTreeMap<String, Ready>),
}

/// The ports of a Service here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allotted {
    /// Port on the activators by name of the Service's port.
    pub(super) ports: BTreeMap<String, u16>,
    /// The activators that are led to.
    pub(super) in_path: Vec<IpAddr>,
    /// 0 for no limit.
    pub(super) hard_limit: u32,
    /// Whose pods these are; `None`: the Service's own.
    pub(super) pods_of: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) protocol: Protocol,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Reads a slice; `None` where it is of no Service, or of no use.
pub(super) fn read(slice: &EndpointSlice) -> Option<Slice> {
    let labels = slice.metadata.labels.as_ref()?;
    let service = Service {
        namespace: slice.metadata.namespace.clone()?,
        name: labels.get(SERVICE)?.clone(),
    };
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        return None;
    }
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by == OURS);
    let ports = slice.ports.iter().flatten().filter(|port| is_tcp(port));
    let says = if ours {
        Says::Allotted(allotted(slice, ports))
    } else {
        let addresses: Vec<_> = ready(slice).collect();
        let on = |number: u16| addresses.iter().map(move |&ip| SocketAddr::new(ip, number));
        Says::Ready(
            ports
                .filter_map(|port| {
                    let ready = Ready {
                        protocol: protocol(port.app_protocol.as_deref())?,
                        addresses: on(number(port)?).collect(),
                    };
                    Some((port.name.clone().unwrap_or_default(), ready))
                })
                .collect(),
        )
    };
    Some(Slice { service, says })
}

fn allotted<'a>(slice: &EndpointSlice, ports: impl Iterator<Item = &'a EndpointPort>) -> Allotted {
    let annotations = slice.metadata.annotations.as_ref();
    let annotation = |key| annotations.and_then(|all| all.get(key));
    Allotted {
        ports: ports
            .filter_map(|port| Some((port.name.clone().unwrap_or_default(), number(port)?)))
            .collect(),
        in_path: ready(slice).collect(),
        hard_limit: annotation(HARD_LIMIT).map_or(0, |text| text.parse().unwrap_or(0)),
        pods_of: annotation(PODS_OF).cloned(),
    }
}

/// The addresses that take traffic. A condition that is not there counts as true (see the API's reference).
fn ready(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> + '_ {
    slice
        .endpoints
        .iter()
        .filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        })
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse().ok())
}

fn is_tcp(port: &EndpointPort) -> bool {
    port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

fn number(port: &EndpointPort) -> Option<u16> {
    port.port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port != 0)
}

/// What a port speaks; `None` where it is nothing that can be held here.
fn protocol(app: Option<&str>) -> Option<Protocol> {
    match app {
        Some("kubernetes.io/h2c") => Some(Protocol::Http2),
        Some("https" | "kubernetes.io/wss" | "tls") => None,
        _ => Some(Protocol::Detect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(value: serde_json::Value) -> Option<Slice> {
        read(&serde_json::from_value(value).expect("an EndpointSlice"))
    }

    fn web() -> Service {
        Service {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    #[test]
    fn pods_that_are_ready() {
        let slice = slice(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web-x", "labels": {SERVICE: "web"}},
            "addressType": "IPv4",
            "ports": [
                {"name": "http", "port": 8080},
                {"name": "grpc", "port": 9000, "appProtocol": "kubernetes.io/h2c"},
                {"name": "tls", "port": 8443, "appProtocol": "https"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true}},
                {"addresses": ["10.0.0.3"]},
            ],
        }));
        let slice = slice.expect("it is of a Service");
        assert_eq!(slice.service, web());
        let Says::Ready(ports) = slice.says else {
            panic!("it is not ours");
        };
        assert_eq!(ports.keys().collect::<Vec<_>>(), ["grpc", "http"]);
        let addresses: Vec<_> = ports["http"]
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(addresses, ["10.0.0.1:8080", "10.0.0.3:8080"]);
        assert_eq!(ports["grpc"].protocol, Protocol::Http2);
    }

    #[test]
    fn ports_that_are_allotted() {
        let slice = slice(serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": "web-ebb",
                "labels": {SERVICE: "web", MANAGED_BY: OURS},
                "annotations": {HARD_LIMIT: "1", PODS_OF: "web-pods"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 20001}],
            "endpoints": [{"addresses": ["10.0.3.7"]}],
        }));
        let allotted = Allotted {
            ports: [(String::new(), 20001)].into(),
            in_path: vec![[10, 0, 3, 7].into()],
            hard_limit: 1,
            pods_of: Some("web-pods".to_owned()),
        };
        let says = Says::Allotted(allotted);
        assert_eq!(
            slice,
            Some(Slice {
                service: web(),
                says
            })
        );
    }

    #[test]
    fn what_is_of_no_use() {
        let other = |label: &str, kind: &str| {
            slice(serde_json::json!({
                "metadata": {"namespace": "shop", "name": "x", "labels": {label: "web"}},
                "addressType": kind, "endpoints": [],
            }))
        };
        assert_eq!(other("app", "IPv4"), None);
        assert_eq!(other(SERVICE, "FQDN"), None);
    }
}
