//! Conflicting autoscalers: HorizontalPodAutoscalers, and KEDA's ScaledObjects if KEDA is installed.
//!
//! Two autoscalers on one target undo each other's work without end, so only one may scale a target. Bias: the other
//! autoscaler names the target explicitly, so it wins; Ebb does not scale the target and reports the conflict.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ebb_engine::TargetKey;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, Error, ResourceExt as _,
    core::{ApiResource, GroupVersionKind, Object, object::NotUsed},
    discovery,
    runtime::watcher,
};
use serde::Deserialize;
use tokio::time;
use tracing::{debug, warn};

use super::{Change, age::Dependents, follow};
use crate::{shared::Shared, sync::Part};

/// How often this replica checks whether KEDA has been installed.
const LOOK_FOR_KEDA: Duration = Duration::from_secs(60);

type ConflictingAutoscaler = Object<Spec, NotUsed>;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Reference,
}

/// The reference to the object that the conflicting autoscaler scales. If KEDA's reference names no kind, the kind is
/// Deployment.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    api_version: Option<String>,
    kind: Option<String>,
    name: String,
}

impl Reference {
    fn key(&self, namespace: &str) -> TargetKey {
        let version = self.api_version.as_deref().unwrap_or("apps/v1");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let kind = self.kind.as_deref().unwrap_or("Deployment");
        TargetKey::new(group, kind, namespace, &self.name)
    }
}

/// Passes all HorizontalPodAutoscalers to the engine.
pub(crate) async fn horizontal(client: Client, shared: Arc<Shared>, listed: Part) {
    let kind = ApiResource::erase::<HorizontalPodAutoscaler>(&());
    pass_all(client, kind, &shared, Some(listed)).await;
}

/// Passes all ScaledObjects to the engine, as soon as the cluster has this kind.
pub(crate) async fn keda(client: Client, shared: Arc<Shared>) {
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    let mut refused = false;
    let kind = loop {
        match discovery::pinned_kind(&client, &kind).await {
            Ok((kind, _)) => break kind,
            // The request for KEDA's API is repeated, because the permission may be granted later.
            Err(Error::Api(status)) if status.is_forbidden() => {
                if !std::mem::replace(&mut refused, true) {
                    warn!(%status, "cannot find out whether KEDA is installed, so its ScaledObjects are not respected; \
                        give the autoscaler's account the right to read /apis/keda.sh");
                }
            }
            Err(error) => debug!(%error, "KEDA is not installed"),
        }
        time::sleep(LOOK_FOR_KEDA).await;
    };
    pass_all(client, kind, &shared, None).await;
}

async fn pass_all(client: Client, kind: ApiResource, shared: &Shared, listed: Option<Part>) {
    let what = kind.kind.clone();
    let api: Api<ConflictingAutoscaler> = Api::all_with(client, &kind);
    let mut known: HashMap<String, (TargetKey, String)> = HashMap::new();
    let watch = shared.watches.add(&kind.plural, Dependents::None);
    follow(
        api,
        watcher::Config::default(),
        &watch,
        |change| match change {
            Change::Seen(other) => {
                let namespace = other.namespace().unwrap_or_default();
                let target = other.spec.scale_target_ref.key(&namespace);
                let name = format!("{what} {namespace}/{}", other.name_any());
                let now = (target.clone(), name.clone());
                let before = known.insert(other.uid().unwrap_or_default(), now.clone());
                shared.with(|engine, at| {
                    if let Some((target, name)) = before.filter(|before| *before != now) {
                        engine.conflict_gone(at, &target, &name);
                    }
                    engine.conflict_seen(at, target, name);
                });
            }
            Change::Gone(id) => {
                if let Some((target, name)) = known.remove(&id.uid) {
                    shared.with(|engine, now| engine.conflict_gone(now, &target, &name));
                }
            }
            Change::Listed => listed.iter().for_each(Part::done),
        },
    )
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::testing::{Answer, client, opted_in, refusal, shared};

    /// Without the permission to read KEDA's API, the autoscaler must try again. The read succeeds after the permission
    /// is granted.
    #[tokio::test(start_paused = true)]
    async fn p9_keda_is_looked_for_again_where_it_was_forbidden() {
        let (shared, _effects) = shared();
        shared.with(|engine, now| {
            engine.configure(now, ebb_autoscaler_core::Config::default());
            let key = TargetKey::new("apps", "Deployment", "shop", "web");
            let facts = opted_in(key, "1");
            engine.target_seen(now, facts);
        });
        let asked = AtomicUsize::new(0);
        let client = client(move |_, path, _| match path {
            "/apis/keda.sh/v1alpha1" if asked.fetch_add(1, Ordering::Relaxed) < 3 => {
                refusal(403, "Forbidden")
            }
            "/apis/keda.sh/v1alpha1" => Answer::Json(
                200,
                json!({
                    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "keda.sh/v1alpha1",
                    "resources": [{
                        "name": "scaledobjects", "singularName": "", "namespaced": true,
                        "kind": "ScaledObject", "verbs": ["list", "watch"],
                    }],
                }),
            ),
            path if path.contains("watch=true") => Answer::Lines(Vec::new()),
            _ => Answer::Json(
                200,
                json!({
                    "kind": "ScaledObjectList", "apiVersion": "keda.sh/v1alpha1",
                    "metadata": {"resourceVersion": "5"},
                    "items": [{
                        "metadata": {"namespace": "shop", "name": "other", "uid": "o", "resourceVersion": "4"},
                        "spec": {"scaleTargetRef": {"name": "web"}},
                    }],
                }),
            ),
        });
        let refused = {
            let shared = Arc::clone(&shared);
            move || shared.with(|engine, _| engine.views().next().and_then(|view| view.not_scaled))
        };
        let watched = tokio::spawn(keda(client, Arc::clone(&shared)));
        time::sleep(LOOK_FOR_KEDA).await;
        assert_eq!(refused(), None);
        time::sleep(3 * LOOK_FOR_KEDA).await;
        let refused = refused().unwrap();
        assert!(refused.contains("ScaledObject shop/other"), "{refused}");
        assert!(!watched.is_finished());
    }

    #[test]
    fn what_is_left_out_is_a_deployment() {
        let reference: Reference = serde_json::from_str(r#"{"name": "web"}"#).unwrap();
        assert_eq!(
            reference.key("shop"),
            TargetKey::new("apps", "Deployment", "shop", "web")
        );
        let reference: Reference = serde_json::from_str(
            r#"{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}"#,
        )
        .unwrap();
        assert_eq!(
            reference.key("shop"),
            TargetKey::new("argoproj.io", "Rollout", "shop", "web")
        );
    }
}
