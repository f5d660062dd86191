//! Reads and writes the records of activator ports in the API server: which activator ports belong to which Service.
//! Each namespace with proxied Services has one record, a ConfigMap in Ebb's own namespace. The [engine](ebb_engine)
//! decides the contents of the ConfigMaps.
//!
//! Bias: an entry that cannot be parsed is skipped, never guessed. Each write names the version of the record that it
//! is based on. If the record has changed since then, the API server refuses the write.

use std::collections::BTreeMap;

use ebb_contract::allotments::{self, Allotment, LABEL};
use ebb_engine::RecordChange;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Error,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

/// A record: the activator ports of the Services of one namespace, as parsed from a ConfigMap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) namespace: String,
    pub(super) allotments: BTreeMap<Box<str>, Allotment>,
    /// Services whose entry in the ConfigMap cannot be parsed or is invalid. They are absent from `allotments`.
    pub(super) senseless: Vec<String>,
}

/// Returns the label selector of the ConfigMaps with records of activator ports.
pub(super) fn selector() -> String {
    format!("{LABEL}=true")
}

/// Parses the record of activator ports in a ConfigMap; `None` if the name of the ConfigMap is not that of a record.
pub(super) fn read(map: &ConfigMap) -> Option<Record> {
    let name = map.metadata.name.as_deref().unwrap_or_default();
    let mut record = Record {
        namespace: allotments::namespace(name)?.to_owned(),
        allotments: BTreeMap::new(),
        senseless: Vec::new(),
    };
    for (service, text) in map.data.iter().flatten() {
        match serde_json::from_str::<Allotment>(text) {
            Ok(allotment) if allotment.is_sound() => {
                record.allotments.insert(service.as_str().into(), allotment);
            }
            _ => record.senseless.push(service.clone()),
        }
    }
    Some(record)
}

/// Writes a change of a record of activator ports. Returns the new version of the record, or `None` if the record was
/// deleted.
///
/// # Errors
/// If the API server refuses the change, for example because of a conflict, or cannot be reached.
pub(super) async fn write(
    client: Client,
    own: &str,
    change: &RecordChange,
) -> Result<Option<String>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client, own);
    let name = allotments::name(&change.namespace);
    let Some(version) = &change.version else {
        let data: BTreeMap<_, _> = data(change)?
            .into_iter()
            .filter_map(|(service, text)| Some((service, text.as_str()?.to_owned())))
            .collect();
        let map = ConfigMap {
            metadata: kube::core::ObjectMeta {
                name: Some(name),
                namespace: Some(own.to_owned()),
                labels: Some([(LABEL.to_owned(), "true".to_owned())].into()),
                ..Default::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let map = api.create(&parameters, &map).await?;
        return Ok(map.metadata.resource_version);
    };
    if change.empties {
        let only = DeleteParams::default().preconditions(Preconditions {
            resource_version: Some(version.to_string()),
            uid: None,
        });
        return match api.delete(&name, &only).await {
            Err(Error::Api(status)) if status.is_not_found() => Ok(None),
            result => result.map(|_| None),
        };
    }
    let patch = json!({
        "metadata": {"resourceVersion": version, "labels": {LABEL: "true"}},
        "data": Value::Object(data(change)?),
    });
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let map = api.patch(&name, &parameters, &Patch::Merge(patch)).await?;
    Ok(map.metadata.resource_version)
}

const MANAGER: &str = "ebb-autoscaler";

/// Returns the `data` of a merge patch: the keys that change, with null for a key to delete.
fn data(change: &RecordChange) -> Result<serde_json::Map<String, Value>, Error> {
    let changes = change.changes.iter();
    changes
        .map(|(service, allotment)| {
            let value = match allotment {
                Some(allotment) => serde_json::to_string(allotment)
                    .map_err(Error::SerdeError)?
                    .into(),
                None => Value::Null,
            };
            Ok((service.to_string(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t2_what_cannot_be_read_is_passed_over() {
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": "ebb-ports.shop"},
            "data": {
                "web": r#"{"serviceUid":"u","workload":"apps/Deployment/web","ports":{"http":20017}}"#,
                "low": r#"{"serviceUid":"u","workload":"apps/Deployment/low","ports":{"http":443}}"#,
                "bad": "nonsense",
            },
        }))
        .unwrap();
        let record = read(&map).unwrap();
        assert_eq!(record.namespace, "shop");
        assert_eq!(record.allotments.len(), 1);
        assert_eq!(record.allotments["web"].ports["http"], 20_017);
        assert_eq!(record.senseless, ["bad", "low"]);
        let other = ConfigMap::default();
        assert_eq!(read(&other), None);
    }
}
