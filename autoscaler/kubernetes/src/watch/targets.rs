//! The objects of one scalable kind.
//!
//! Kinds of the API group `apps` have their replicas in `spec.replicas`. In a custom kind, the CustomResourceDefinition
//! determines the field with the replicas, so the replicas are read from the [scale subresource](super::scaled).
//!
//! Bias: an object of a custom kind may contain anything. Fields that cannot be parsed count as absent, so one invalid
//! object does not hide all others of its kind.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use ebb_engine::{TargetFacts, TargetKey};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{ApiResource, DynamicResourceScope, ObjectMeta},
    runtime::watcher,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess},
};
use serde_json::Value;

use super::{
    Change,
    age::Dependents,
    created, follow,
    lenient::{Fields, Lenient},
    scaled::Scales,
};
use crate::{shared::Shared, sync::Part};

/// The fields of an object that are parsed.
#[derive(Clone, Debug, Deserialize)]
struct SlimTarget {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "spec")]
    spec: Spec,
}

#[derive(Clone, Debug, Default)]
struct Spec {
    replicas: Option<i64>,
    template: Option<Template>,
}

#[derive(Clone, Debug, Default)]
struct Template {
    metadata: Metadata,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

fn spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spec, D::Error> {
    let spec = Lenient::<Spec>::deserialize(deserializer)?;
    Ok(spec.0.unwrap_or_default())
}

impl Fields for Spec {
    fn of<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        let mut spec = Self::default();
        while let Some(name) = fields.next_key::<String>()? {
            match &*name {
                "replicas" => spec.replicas = fields.next_value::<Value>()?.as_i64(),
                "template" => spec.template = fields.next_value::<Lenient<Template>>()?.0,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(spec)
    }
}

impl Fields for Template {
    fn of<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        let mut template = Self::default();
        while let Some(name) = fields.next_key::<String>()? {
            match &*name {
                "metadata" => {
                    let metadata = fields.next_value::<Value>()?;
                    template.metadata = serde_json::from_value(metadata).unwrap_or_default();
                }
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(template)
    }
}

impl Resource for SlimTarget {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.kind.as_str().into()
    }

    fn group(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.group.as_str().into()
    }

    fn version(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.version.as_str().into()
    }

    fn plural(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Passes all objects of a kind to the engine, without end. `listed` is set for a kind that every cluster has: no
/// decision is made before the first list of this kind is complete.
pub(crate) async fn run(
    client: Client,
    kind: ApiResource,
    shared: Arc<Shared>,
    listed: Option<Part>,
) {
    let rests = match listed {
        Some(_) => Dependents::All,
        None => Dependents::Kind {
            group: kind.group.as_str().into(),
            kind: kind.kind.as_str().into(),
        },
    };
    let name = match has_replicas_in_spec(&kind) {
        true => kind.plural.clone(),
        false => format!("{}.{}", kind.plural, kind.group),
    };
    let watch = shared.watches.add(&name, rests);
    let scales = (!has_replicas_in_spec(&kind)).then(Scales::default);
    let gone = |key: &TargetKey| {
        scales.iter().for_each(|scales| scales.gone(key));
        shared.with(|engine, now| engine.target_gone(now, key));
    };
    let api: Api<SlimTarget> = Api::all_with(client.clone(), &kind);
    let followed = follow(
        api,
        watcher::Config::default(),
        &watch,
        |change| match change {
            Change::Seen(object) if object.metadata.deletion_timestamp.is_none() => {
                let facts = facts(&kind, &object);
                match &scales {
                    Some(scales) if facts.opted_in() => {
                        scales.seen(&shared, facts, object.metadata.generation);
                    }
                    Some(_) => gone(&facts.key),
                    None => {
                        shared.with(|engine, now| engine.target_seen(now, facts));
                        // The decision loop wakes up, because a decision for a new workload is due at once.
                        shared.decision_wake_up.notify_one();
                    }
                }
            }
            Change::Seen(object) => gone(&key(
                &kind,
                &object.namespace().unwrap_or_default(),
                &object.name_any(),
            )),
            Change::Gone(id) => gone(&key(&kind, &id.namespace, &id.name)),
            Change::Listed => {
                shared.with(|engine, _| engine.kind_listed(&kind.group, &kind.kind));
                listed.iter().for_each(Part::done);
            }
        },
    );
    match &scales {
        Some(scales) => {
            tokio::join!(followed, scales.ask(client, &kind, &shared));
        }
        None => followed.await,
    }
}

/// Returns whether the replicas are in `spec.replicas`, as for the kinds of the API group `apps`.
fn has_replicas_in_spec(kind: &ApiResource) -> bool {
    kind.group == "apps"
}

fn key(kind: &ApiResource, namespace: &str, name: &str) -> TargetKey {
    TargetKey::new(&kind.group, &kind.kind, namespace, name)
}

fn facts(kind: &ApiResource, object: &SlimTarget) -> TargetFacts {
    let template = object.spec.template.as_ref();
    let labels = template.and_then(|template| template.metadata.labels.clone());
    let annotations = match template {
        Some(template) => template.metadata.annotations.clone(),
        None => object.metadata.annotations.clone(),
    };
    TargetFacts {
        key: key(
            kind,
            &object.namespace().unwrap_or_default(),
            &object.name_any(),
        ),
        uid: object.uid().unwrap_or_default().into(),
        resource_version: object.resource_version().unwrap_or_default().into(),
        // An absent `spec.replicas` means 1, as for the API server.
        replicas: object
            .spec
            .replicas
            .map_or(1, |replicas| u32::try_from(replicas).unwrap_or(0)),
        annotations: annotations.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        oversized: 0,
        owned: object
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true)),
        created: created(&object.metadata),
    }
    .bounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value) -> TargetFacts {
        let object = serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u", "annotations": {"ebb.dev/mode": "own"}},
            "spec": spec,
        });
        let kind = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
        facts(&kind, &serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_template_speaks_for_its_pods() {
        let facts = read(serde_json::json!({
            "replicas": 3, "template": {"metadata": {"annotations": {"ebb.dev/mode": "template"}}, "spec": {}},
        }));
        assert_eq!(
            (facts.replicas, facts.annotations["ebb.dev/mode"].as_str()),
            (3, "template")
        );
        assert_eq!(
            facts.key,
            TargetKey::new("apps", "Deployment", "shop", "web")
        );
        assert!(
            read(serde_json::json!({"template": {}}))
                .annotations
                .is_empty()
        );
    }

    #[test]
    fn what_is_of_another_type_counts_as_absent() {
        let facts = read(serde_json::json!({"replicas": "many", "template": "none"}));
        assert_eq!(
            (facts.replicas, facts.annotations["ebb.dev/mode"].as_str()),
            (1, "own")
        );
        assert_eq!(read(serde_json::json!([1])).replicas, 1);
    }

    #[test]
    fn without_a_template_the_object_speaks_for_itself() {
        let facts = read(serde_json::json!({}));
        assert_eq!(
            (facts.replicas, facts.annotations["ebb.dev/mode"].as_str()),
            (1, "own")
        );
    }
}
