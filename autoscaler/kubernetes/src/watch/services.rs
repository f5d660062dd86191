//! Watches of the Services of the cluster, of the EndpointSlices that route Services to pods and activators, and of the
//! records of the activators' ports.
//!
//! Values that a tenant writes are bounded before they are stored: the ports and the selector labels of a Service are
//! limited.

use std::sync::Arc;

use ebb_contract::allotments::MOST_PORTS;
use ebb_contract::slices::{self as names, MANAGED_BY, MANAGER, PODS_OF, SERVICE};
use ebb_engine::ServiceFacts;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, ResourceExt as _, runtime::watcher};
use tracing::warn;

use super::{Change, Id, age::Dependents, follow};
use crate::{allotments, shared::Shared, slices, sync::Part};

/// Longest selector of a Service, in labels. A pod template of more than 64 labels matches no Service here (see
/// `ebb_engine`, `routing::namespace_routing`), so a longer selector selects nothing.
const MOST_SELECTED: usize = 64;

/// Passes all Services to the engine.
pub(crate) async fn run(client: Client, shared: Arc<Shared>, listed: Part) {
    let api: Api<Service> = Api::all(client);
    let watch = shared.watches.add("services", Dependents::All);
    follow(
        api,
        watcher::Config::default(),
        &watch,
        |change| match change {
            Change::Seen(service) => shared.with(|engine, _| engine.service_seen(facts(&service))),
            Change::Gone(Id {
                namespace, name, ..
            }) => shared.with(|engine, _| engine.service_gone(&namespace, &name)),
            Change::Listed => listed.done(),
        },
    )
    .await;
}

/// Passes all EndpointSlices to the engine: the slices of Ebb, and the slices that route to pods.
pub(crate) async fn slices(client: Client, shared: Arc<Shared>, listed: Part) {
    let api: Api<EndpointSlice> = Api::all(client);
    let watch = shared.watches.add("endpointslices", Dependents::All);
    follow(
        api,
        watcher::Config::default(),
        &watch,
        |change| match change {
            Change::Seen(slice) => slice_seen(&shared, &slice),
            Change::Gone(Id {
                namespace, name, ..
            }) => shared.with(|engine, _| {
                engine.endpoints_gone(&namespace, &name);
                match names::service(&name) {
                    Some(service) => engine.slice_gone(&namespace, service),
                    None => engine.foreign_slice_gone(&namespace, &name),
                }
            }),
            Change::Listed => listed.done(),
        },
    )
    .await;
}

fn slice_seen(shared: &Shared, slice: &EndpointSlice) {
    let (namespace, name) = (slice.namespace().unwrap_or_default(), slice.name_any());
    let uid = slice.uid().unwrap_or_default();
    let manager = slice.labels().get(MANAGED_BY);
    let claims = manager.is_some_and(|by| by == MANAGER);
    // Without the label `SERVICE`, the slice belongs to no Service.
    let service = slice.labels().get(SERVICE);
    shared.with(|engine, now| {
        match (names::service(&name), claims) {
            (Some(of), _) => {
                engine.slice_seen(&namespace, of, &uid, claims, slices::read(slice));
            }
            (None, true) => engine.foreign_slice_seen(now, &namespace, &name, &uid),
            (None, false) => engine.foreign_slice_gone(&namespace, &name),
        }
        match service.filter(|_| !claims) {
            Some(service) => engine.endpoints_seen(&namespace, &name, service, has_ready(slice)),
            None => engine.endpoints_gone(&namespace, &name),
        }
    });
}

/// Passes the records of ports of all namespaces to the engine. The ConfigMaps with the records are in `namespace`.
pub(crate) async fn records(client: Client, namespace: String, shared: Arc<Shared>, listed: Part) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = watcher::Config::default().labels(&allotments::selector());
    let watch = shared.watches.add("the record of ports", Dependents::All);
    follow(api, only, &watch, |change| match change {
        Change::Seen(map) => {
            let Some(record) = allotments::read(&map) else {
                warn!(name = %map.name_any(), "a ConfigMap with the label of an activator port record has no valid name; ignored");
                return;
            };
            for key in &record.senseless {
                warn!(name = %map.name_any(), %key,
                    "cannot parse the record of a Service's activator ports; it is ignored, or rewritten if needed");
            }
            let version = map.resource_version();
            shared.with(|engine, now| {
                engine.record_seen(
                    now,
                    &record.namespace,
                    version.as_deref(),
                    record.allotments,
                    record.senseless.len(),
                );
            });
        }
        Change::Gone(Id { name, .. }) => {
            if let Some(of) = ebb_contract::allotments::namespace(&name) {
                shared.with(|engine, now| engine.record_gone(now, of));
            }
        }
        Change::Listed => listed.done(),
    })
    .await;
}

/// Returns whether the slice has an endpoint to which nodes send requests. An endpoint without a reported readiness
/// counts as ready (`EndpointConditions` of discovery.k8s.io/v1).
fn has_ready(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        !endpoint.addresses.is_empty() && conditions.and_then(|it| it.ready) != Some(false)
    })
}

fn facts(service: &Service) -> ServiceFacts {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref());
    let is_tcp = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP") == "TCP";
    let (tcp, others): (Vec<_>, Vec<_>) = ports
        .into_iter()
        .flatten()
        .partition(|port| is_tcp(&port.protocol));
    let families = spec.and_then(|spec| spec.ip_families.as_ref());
    let kind = spec.and_then(|spec| spec.type_.as_deref());
    let address = spec.and_then(|spec| spec.cluster_ip.as_deref());
    let too_many_ports = tcp.len() > MOST_PORTS;
    let selector = spec.and_then(|spec| spec.selector.as_ref());
    let selector = selector.filter(|selector| selector.len() <= MOST_SELECTED);
    ServiceFacts {
        namespace: service.namespace().unwrap_or_default().into(),
        name: service.name_any().into(),
        uid: service.uid().unwrap_or_default().into(),
        selector: selector.cloned().unwrap_or_default(),
        too_many_ports,
        ports: tcp
            .into_iter()
            .filter(|_| !too_many_ports)
            .map(|port| {
                (
                    port.name.clone().unwrap_or_default(),
                    port.app_protocol.clone(),
                )
            })
            .collect(),
        leaks: !others.is_empty() || spec.is_some_and(leaks),
        // Like a headless Service, a Service of type `ExternalName` has no cluster IP.
        headless: address == Some("None") || kind == Some("ExternalName"),
        six: families.is_some_and(|families| families.first().is_some_and(|it| it == "IPv6")),
        pods_of: service
            .annotations()
            .get(PODS_OF)
            .map(|it| it.as_str().into()),
    }
}

/// Returns whether requests to a Service can bypass the activators: a traffic policy is `Local`, or endpoints that are
/// not ready are published.
fn leaks(spec: &ServiceSpec) -> bool {
    let policies = [&spec.internal_traffic_policy, &spec.external_traffic_policy];
    policies
        .into_iter()
        .any(|policy| policy.as_deref() == Some("Local"))
        || spec.publish_not_ready_addresses == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: serde_json::Value) -> ServiceFacts {
        let service = serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u", "annotations": {"ebb.dev/pods-of": "pods"}},
            "spec": spec,
        });
        facts(&serde_json::from_value(service).unwrap())
    }

    #[test]
    fn a_service_with_an_address() {
        let facts = read(serde_json::json!({
            "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80},
                {"name": "grpc", "port": 90, "appProtocol": "kubernetes.io/h2c"},
            ],
        }));
        let grpc = Some("kubernetes.io/h2c".to_owned());
        let ports = [("http".to_owned(), None), ("grpc".to_owned(), grpc)];
        assert_eq!(facts.ports, ports.into());
        assert!(!facts.leaks && !facts.headless && !facts.six);
        assert_eq!(facts.selector["app"], "web");
        assert_eq!(facts.pods_of.as_deref(), Some("pods"));
    }

    #[test]
    fn t5_ten_thousand_ports_are_not_kept() {
        let ports: Vec<_> = (1..=10_000)
            .map(|port| serde_json::json!({"name": format!("p{port}"), "port": port}))
            .collect();
        let facts = read(serde_json::json!({"clusterIP": "10.96.0.7", "ports": ports}));
        assert!(facts.too_many_ports && facts.ports.is_empty());
    }

    #[test]
    fn others() {
        let udp = serde_json::json!([{"port": 53, "protocol": "UDP"}]);
        let facts = read(serde_json::json!({"ports": udp, "ipFamilies": ["IPv6", "IPv4"]}));
        assert!(facts.ports.is_empty() && facts.leaks && facts.six);
        assert!(read(serde_json::json!({"internalTrafficPolicy": "Local"})).leaks);
        assert!(read(serde_json::json!({"publishNotReadyAddresses": true})).leaks);
        assert!(!read(serde_json::json!({"externalTrafficPolicy": "Cluster"})).leaks);
        assert!(read(serde_json::json!({"clusterIP": "None"})).headless);
        assert!(read(serde_json::json!({"type": "ExternalName"})).headless);
    }
}
