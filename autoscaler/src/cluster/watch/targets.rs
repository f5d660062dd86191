//! The objects of one kind that can be scaled.

use std::{collections::BTreeMap, sync::Arc};

use kube::{
    Api, Client, ResourceExt as _,
    core::{ApiResource, Object},
    runtime::watcher,
};
use serde::Deserialize;

use super::{Change, created, follow};
use crate::{
    cluster::{shared::Shared, sync::Part},
    engine::{TargetFacts, TargetKey},
};

type SlimTarget = Object<Spec, kube::core::object::NotUsed>;

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    replicas: Option<i64>,
    template: Option<Template>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    metadata: Option<Metadata>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// Tells the engine of all objects of a kind.
pub(in crate::cluster) async fn run(
    client: Client,
    kind: ApiResource,
    shared: Arc<Shared>,
    listed: Option<Part>,
) {
    let api: Api<SlimTarget> = Api::all_with(client, &kind);
    follow(api, watcher::Config::default(), |change| match change {
        Change::Seen(object) if object.metadata.deletion_timestamp.is_none() => {
            let facts = facts(&kind, &object);
            shared.with(|engine, now| engine.target_seen(now, facts));
            // A new workload is due at once.
            shared.sooner.notify_one();
        }
        Change::Seen(object) => {
            let key = key(
                &kind,
                &object.namespace().unwrap_or_default(),
                &object.name_any(),
            );
            shared.with(|engine, now| engine.target_gone(now, &key));
        }
        Change::Gone(id) => {
            let key = key(&kind, &id.namespace, &id.name);
            shared.with(|engine, now| engine.target_gone(now, &key));
        }
        Change::Listed => {
            shared.with(|engine, _| engine.kind_listed(&kind.group, &kind.kind));
            listed.iter().for_each(Part::done);
        }
    })
    .await;
}

fn key(kind: &ApiResource, namespace: &str, name: &str) -> TargetKey {
    TargetKey::new(&kind.group, &kind.kind, namespace, name)
}

fn facts(kind: &ApiResource, object: &SlimTarget) -> TargetFacts {
    let template = object.spec.template.as_ref();
    let labels = template
        .and_then(|template| template.metadata.as_ref())
        .and_then(|metadata| metadata.labels.clone());
    let annotations = match template {
        Some(template) => template
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.annotations.clone()),
        None => object.metadata.annotations.clone(),
    };
    TargetFacts {
        key: key(
            kind,
            &object.namespace().unwrap_or_default(),
            &object.name_any(),
        ),
        uid: object.uid().unwrap_or_default().into(),
        // What the API server itself assumes.
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

    fn read(spec: serde_json::Value) -> TargetFacts {
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
    fn without_a_template_the_object_speaks_for_itself() {
        let facts = read(serde_json::json!({}));
        assert_eq!(
            (facts.replicas, facts.annotations["ebb.dev/mode"].as_str()),
            (1, "own")
        );
    }
}
