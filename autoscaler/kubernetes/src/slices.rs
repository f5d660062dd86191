//! Reads and writes the EndpointSlices that route to activators. The [engine](ebb_engine) decides their contents.

use ebb_contract::slices::{
    self, HARD_LIMIT, MANAGED_BY, MANAGER, PODS_OF, SCALED_TO_ZERO, SERVICE, WORKLOAD,
};
use ebb_engine::{DesiredSlice, ObservedSlice};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Returns the EndpointSlice to apply, as JSON.
fn object(desired: &DesiredSlice, written: &ObservedSlice) -> Value {
    let namespace = &*desired.workload.namespace;
    let ports: Vec<_> = written
        .ports
        .iter()
        .map(|(name, number)| {
            let mut port = json!({"name": name, "port": number, "protocol": "TCP"});
            if let Some(protocol) = written.protocols.get(name) {
                port["appProtocol"] = protocol.as_str().into();
            }
            port
        })
        .collect();
    let endpoints: Vec<_> = written
        .endpoints
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    let mut annotations = json!({WORKLOAD: written.workload});
    if written.scaled_to_zero {
        annotations[SCALED_TO_ZERO] = "true".into();
    }
    if written.hard_limit > 0 {
        annotations[HARD_LIMIT] = written.hard_limit.to_string().into();
    }
    if let Some(other) = &written.pods_of {
        annotations[PODS_OF] = other.as_str().into();
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": slices::name(&desired.service),
            "labels": {SERVICE: desired.service, MANAGED_BY: MANAGER},
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": desired.service, "uid": desired.service_uid,
            }],
        },
        "addressType": if desired.six { "IPv6" } else { "IPv4" },
        "ports": ports,
        "endpoints": endpoints,
    })
}

/// Parses an EndpointSlice that has the name of one of Ebb's slices.
pub(super) fn read(slice: &EndpointSlice) -> ObservedSlice {
    let annotation = |key: &str| slice.metadata.annotations.as_ref()?.get(key);
    let owners = slice.metadata.owner_references.iter().flatten();
    let mut services = owners.filter(|owner| owner.kind == "Service");
    let ready = |it: &Endpoint| it.conditions.as_ref().and_then(|it| it.ready) == Some(true);
    let mut written = ObservedSlice {
        endpoints: slice
            .endpoints
            .iter()
            .flat_map(|one| &one.addresses)
            .filter_map(|text| text.parse().ok())
            .collect(),
        hard_limit: annotation(HARD_LIMIT).map_or(0, |text| text.parse().unwrap_or(0)),
        pods_of: annotation(PODS_OF).cloned(),
        workload: annotation(WORKLOAD).cloned().unwrap_or_default(),
        service_uid: services
            .next()
            .map(|owner| owner.uid.clone())
            .unwrap_or_default(),
        scaled_to_zero: annotation(SCALED_TO_ZERO).is_some_and(|text| text == "true"),
        tampered: !is_labelled(slice)
            || !slice
                .endpoints
                .iter()
                .all(|it| ready(it) && it.addresses.len() == 1),
        ..ObservedSlice::default()
    };
    for port in slice.ports.iter().flatten() {
        let Some(number) = port.port.and_then(|port| u16::try_from(port).ok()) else {
            written.tampered = true;
            continue;
        };
        written.tampered |= port.protocol.as_deref() != Some("TCP");
        let name = port.name.clone().unwrap_or_default();
        if let Some(protocol) = &port.app_protocol {
            written.protocols.insert(name.clone(), protocol.clone());
        }
        written.ports.insert(name, number);
    }
    written
}

/// Returns whether an EndpointSlice has the labels of Ebb's slices.
fn is_labelled(slice: &EndpointSlice) -> bool {
    let service = slice.metadata.name.as_deref().and_then(slices::service);
    let label = |key: &str| slice.metadata.labels.as_ref()?.get(key).map(String::as_str);
    service.is_some() && label(SERVICE) == service && label(MANAGED_BY) == Some(MANAGER)
}

/// Creates or updates a slice.
///
/// # Errors
/// If the API server refuses the slice, or cannot be reached.
pub(super) async fn apply(
    client: Client,
    desired: &DesiredSlice,
    written: &ObservedSlice,
) -> Result<(), Error> {
    let api: Api<EndpointSlice> = Api::namespaced(client, &desired.workload.namespace);
    // `force` makes this field manager the owner of fields that another field manager has set.
    let manager = PatchParams::apply("ebb-autoscaler").force();
    let object = object(desired, written);
    api.patch(
        &slices::name(&desired.service),
        &manager,
        &Patch::Apply(object),
    )
    .await
    .map(drop)
}

/// Deletes a slice. It is no error if the slice does not exist.
///
/// # Errors
/// If the API server refuses the request, or cannot be reached.
pub(super) async fn remove(client: Client, namespace: &str, service: &str) -> Result<(), Error> {
    let api: Api<EndpointSlice> = Api::namespaced(client, namespace);
    match api
        .delete(&slices::name(service), &DeleteParams::default())
        .await
    {
        Err(Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebb_engine::TargetKey;

    #[test]
    fn what_is_written_is_read_back() {
        let written = ObservedSlice {
            ports: [("grpc".to_owned(), 20_001), ("http".to_owned(), 20_002)].into(),
            protocols: [("grpc".to_owned(), "kubernetes.io/h2c".to_owned())].into(),
            endpoints: [[10, 0, 3, 7].into()].into(),
            hard_limit: 1,
            pods_of: Some("web-pods".to_owned()),
            workload: "apps/Deployment/web".to_owned(),
            service_uid: "u".to_owned(),
            scaled_to_zero: true,
            tampered: false,
        };
        let desired = DesiredSlice {
            workload: TargetKey::new("apps", "Deployment", "shop", "web"),
            service: "web".to_owned(),
            service_uid: "u".to_owned(),
            ports: [].into(),
            proxy: true,
            activators: 2,
            six: false,
            hard_limit: 1,
            pods_of: written.pods_of.clone(),
            scaled_to_zero: true,
            is_last_way: false,
        };
        let object = object(&desired, &written);
        assert_eq!(
            object["metadata"]["annotations"][WORKLOAD],
            "apps/Deployment/web"
        );
        let slice: EndpointSlice = serde_json::from_value(object).unwrap();
        assert_eq!(read(&slice), written);
        let name = slice.metadata.name.as_deref();
        assert_eq!(name.and_then(slices::service), Some("web"));
        let mut other = slice.clone();
        let labels = other.metadata.labels.get_or_insert_default();
        labels.insert(SERVICE.to_owned(), "other".to_owned());
        assert!(
            read(&other).tampered,
            "the changed label would route the clients of another Service to this slice"
        );
        let mut other = slice;
        for endpoint in &mut other.endpoints {
            endpoint.conditions = None;
        }
        assert!(read(&other).tampered);
    }
}
