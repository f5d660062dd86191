//! Parses EndpointSlices for the activator, without I/O.
//!
//! There are two kinds of slices. The slice that Ebb writes for a Service contains the activators in the request path.
//! All other slices contain ready pods. No slice assigns a port: tenants may be able to write slices, so ports are read
//! only from the record (`record`). Bias: an entry that cannot be used (another address type, a port without a number)
//! is skipped, and its value is never guessed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ebb_contract::slices;
use ebb_proxy::Protocol;
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The part of an EndpointSlice that the activator uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: Service,
    pub(crate) content: SliceContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SliceContent {
    /// The activators in the request path, from a slice with the name and the labels of Ebb's slices.
    InPath(InPath),
    /// The ready addresses by port name, from a slice that Ebb did not write.
    Ready(BTreeMap<String, ReadyAddresses>),
}

/// The activators in the request path, according to a slice with the name and the labels of Ebb's slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InPath {
    /// Uid of the Service that owns the slice. The slice is used only if the record of ports has the same uid.
    pub(crate) service_uid: String,
    /// The addresses of the activators.
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadyAddresses {
    pub(crate) protocol: Protocol,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Parses a slice. Returns `None` if the slice belongs to no Service or cannot be used.
pub(crate) fn read(slice: &EndpointSlice) -> Option<Slice> {
    let labels = slice.metadata.labels.as_ref()?;
    let service = Service {
        namespace: slice.metadata.namespace.clone()?,
        name: labels.get(slices::SERVICE)?.clone(),
    };
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        return None;
    }
    let ours = labels
        .get(slices::MANAGED_BY)
        .is_some_and(|by| by == slices::MANAGER);
    let ports = slice.ports.iter().flatten().filter(|port| is_tcp(port));
    let content = if ours {
        let name = slice.metadata.name.as_deref()?;
        // A slice with another name was not written by Ebb, so it is not used.
        slices::service(name).filter(|of| *of == service.name)?;
        SliceContent::InPath(in_path(slice))
    } else {
        let addresses: Vec<_> = ready(slice).collect();
        let on = |number: u16| addresses.iter().map(move |&ip| SocketAddr::new(ip, number));
        SliceContent::Ready(
            ports
                .filter_map(|port| {
                    let ready = ReadyAddresses {
                        protocol: protocol(port.app_protocol.as_deref())?,
                        addresses: on(number(port)?).collect(),
                    };
                    Some((port.name.clone().unwrap_or_default(), ready))
                })
                .collect(),
        )
    };
    Some(Slice { service, content })
}

fn in_path(slice: &EndpointSlice) -> InPath {
    let owners = slice.metadata.owner_references.iter().flatten();
    let mut services = owners.filter(|owner| owner.kind == "Service");
    InPath {
        service_uid: services
            .next()
            .map(|owner| owner.uid.clone())
            .unwrap_or_default(),
        addresses: ready(slice).collect(),
    }
}

/// Returns the ready addresses. An endpoint without the condition `ready` is ready (see the API's reference).
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

/// Returns the protocol of a port, or `None` if the port's requests cannot be queued.
fn protocol(app: Option<&str>) -> Option<Protocol> {
    match app {
        _ if !slices::is_proxied(app) => None,
        Some("kubernetes.io/h2c") => Some(Protocol::Http2),
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
            "metadata": {"namespace": "shop", "name": "web-x", "labels": {slices::SERVICE: "web"}},
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
        let SliceContent::Ready(ports) = slice.content else {
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

    fn claims(name: &str, service: &str) -> Option<Slice> {
        slice(serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": name, "labels": {slices::SERVICE: service, slices::MANAGED_BY: slices::MANAGER},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}],
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 20001}],
            "endpoints": [{"addresses": ["10.0.3.7"]}],
        }))
    }

    #[test]
    fn t2_a_slice_says_who_is_in_the_path_and_allots_nothing() {
        let in_path = InPath {
            service_uid: "u".to_owned(),
            addresses: vec![[10, 0, 3, 7].into()],
        };
        let ours = Slice {
            service: web(),
            content: SliceContent::InPath(in_path),
        };
        assert_eq!(claims("web-ebb", "web"), Some(ours));
        assert_eq!(
            claims("forged", "web"),
            None,
            "Ebb does not create slices of this name"
        );
        assert_eq!(
            claims("web-ebb", "other"),
            None,
            "the slice has the name of another Service's slice"
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
        assert_eq!(other(slices::SERVICE, "FQDN"), None);
    }
}
