//! Carries out orders to scale a workload: writes the pod deletion costs, then the scale, then an Event.
//!
//! At most one order of a workload is under way. Of the orders that arrive while it is under way, only the last is
//! kept. Bias: when in doubt, do not scale. A failed order is dropped, and the next decision makes a new one. An order
//! of a replica that no longer leads is dropped too, because the client refuses to send its writes ([`Leadership`]).
//! The replicas are never lowered before the scale-down candidates have their deletion costs.
//!
//! Each write of a scale contains the uid and the `resourceVersion` that the decision is based on. So the API server
//! refuses a write based on an older state with 409
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#updates-to-existing-resources>): the object or its
//! status has changed, or another object has the same name now. A 409 is not a failure: the engine decides again.

use std::{collections::HashMap, sync::Arc};

use ebb_engine::{DeletionCost, Notice, Order, WorkloadId};
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::debug;

use super::{
    events::Events,
    kinds::Kinds,
    leadership::{Leadership, NotLeading},
    metrics::Metrics,
    shared::Shared,
};

/// The annotation that determines which pods a ReplicaSet removes first. It is beta, and enabled by default since
/// Kubernetes 1.22.
pub(super) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Maximum number of pods of one scale order that get their deletion costs at the same time.
const MARKS_AT_A_TIME: usize = 16;

/// Clients and shared state for carrying out scale orders.
pub(super) struct Writer {
    /// The client for writes. It writes only while this replica leads, and limits the time of each write.
    pub(super) client: Client,
    pub(super) kinds: Arc<Kinds>,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) leadership: Arc<Leadership>,
}

/// Why a scale order of the engine was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot write the deletion cost of pod {0}: {1}")]
    Mark(Box<str>, #[source] Error),
    #[error("{0}")]
    Scale(#[source] Error),
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    #[error("the object has changed since the decision")]
    Changed,
    #[error("the kind of the object is not known")]
    Kind,
}

impl Writer {
    /// Carries out scale orders until the sender of orders is gone.
    pub(super) async fn run(self: Arc<Self>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut under_way = JoinSet::new();
        let mut waiting: HashMap<WorkloadId, Option<Order>> = HashMap::new();
        loop {
            let next = tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    match waiting.get_mut(&order.workload) {
                        Some(waits) => {
                            *waits = Some(order);
                            None
                        }
                        None => Some(order),
                    }
                }
                Some(done) = under_way.join_next() => {
                    done.ok().and_then(|done| waiting.remove(&done)).flatten()
                }
            };
            if let Some(order) = next {
                waiting.insert(order.workload, None);
                let this = Arc::clone(&self);
                under_way.spawn(async move { this.carry_out(order).await });
            }
        }
    }

    async fn carry_out(&self, mut order: Order) -> WorkloadId {
        let workload = order.workload;
        let result = self.try_to(&order).await;
        self.metrics.wrote(match &result {
            Ok(_) => "done",
            Err(Failure::NotLeading(_)) => "dropped",
            Err(Failure::Changed) => "conflict",
            Err(_) => "failed",
        });
        if let Err(Failure::Changed) = result {
            debug!(target = %order.target, "the object has changed since the decision; the engine decides again");
            self.shared
                .with(|engine, now| engine.overtaken(now, &order));
            self.shared.decision_wake_up.notify_one();
            return workload;
        }
        let note = format!("from {} to {}: {}", order.from, order.to, order.reason);
        let (reason, note) = match &result {
            Ok(_) if order.to > order.from => ("ScaledUp", note),
            Ok(_) => ("ScaledDown", note),
            Err(error) => ("ScaleFailed", format!("{note}; {error}")),
        };
        if !matches!(result, Err(Failure::NotLeading(_))) {
            self.events.say(Notice {
                about: order.target.clone(),
                uid: order.uid.clone(),
                warning: result.is_err(),
                reason,
                note,
            });
        }
        let error = match result {
            Ok(version) => {
                order.written_version = Some(version);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.shared
            .with(|engine, now| engine.written(now, order, error));
        workload
    }

    /// Carries out a scale order and returns the new `resourceVersion` of the scaled object.
    async fn try_to(&self, order: &Order) -> Result<Box<str>, Failure> {
        // The leadership is checked here before the first deletion cost is written. The client checks it again before
        // each request.
        if !self.leadership.leads() {
            return Err(NotLeading.into());
        }
        let key = &order.target;
        let kind = self
            .kinds
            .known(&key.group, &key.kind)
            .ok_or(Failure::Kind)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        debug!(target = %key, to = order.to, costs = ?order.costs, "order");
        for some in order.costs.chunks(MARKS_AT_A_TIME) {
            try_join_all(some.iter().map(|cost| self.mark(&pods, cost))).await?;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource);
        let patch = Patch::Merge(json!({
            "metadata": {"uid": order.uid, "resourceVersion": order.resource_version},
            "spec": {"replicas": order.to},
        }));
        match api.patch_scale(&key.name, &parameters(), &patch).await {
            Ok(scale) => Ok(scale.metadata.resource_version.unwrap_or_default().into()),
            Err(Error::Api(status)) if status.is_conflict() => Err(Failure::Changed),
            Err(error) if NotLeading::is_why(&error) => Err(NotLeading.into()),
            Err(error) => Err(Failure::Scale(error)),
        }
    }

    /// Sets a pod's deletion cost.
    async fn mark(&self, pods: &Api<Pod>, cost: &DeletionCost) -> Result<(), Failure> {
        let value = cost.cost.map(|cost| cost.to_string());
        // The patch contains the uid, so a new pod with the same name is not changed.
        let patch = Patch::Merge(json!({
            "metadata": {"uid": cost.uid, "annotations": {DELETION_COST: value}},
        }));
        match pods.patch_metadata(&cost.pod, &parameters(), &patch).await {
            // The pod is gone already, so it needs no deletion cost.
            Err(Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) if NotLeading::is_why(&error) => Err(NotLeading.into()),
            result => result
                .map(drop)
                .map_err(|error| Failure::Mark(cost.pod.clone(), error)),
        }
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some("ebb-autoscaler".to_owned()),
        ..PatchParams::default()
    }
}
