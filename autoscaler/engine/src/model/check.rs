//! The invariants of the model, checked against the true state of the model cluster.

use std::time::Duration;

use super::world::{Pod, World};
use crate::{Order, TargetKey};

/// Time after a report for which the metrics of a pod are current; the same as `STALE_AFTER` in `engine/src/series.rs`.
const CURRENT_FOR: Duration = Duration::from_millis(3_500);
/// Stable window in the model's settings.
const WINDOW: Duration = Duration::from_secs(6);

impl World {
    /// Checks a scale order: only the leader creates orders, and an order reduces replicas only if all facts are known
    /// and current.
    pub(super) fn check_order(&self, order: &Order) {
        self.must(self.leading, order, "only the leader creates orders");
        if order.to >= order.from {
            return;
        }
        self.must(
            self.fresh,
            order,
            "the facts from the API server are current",
        );
        let namespace = &*order.target.namespace;
        for pod in self.known_pods_in(namespace) {
            self.must(
                !self.is_pending(pod),
                order,
                &format!("the owner of pod {} is resolved", pod.uid),
            );
        }
        for pod in self.known_pods_of(&order.target) {
            let Some(in_engine) = &pod.in_engine else {
                continue;
            };
            if !in_engine.ready || in_engine.deleting {
                continue;
            }
            let is_current = in_engine
                .reported
                .is_some_and(|at| self.now.since(at) <= CURRENT_FOR);
            self.must(
                is_current,
                order,
                &format!("pod {} has current metrics", pod.uid),
            );
        }
        let known_for = self
            .workloads
            .get(&order.target)
            .and_then(|workload| workload.in_engine)
            .map(|(_, in_engine)| self.now.since(in_engine));
        self.must(
            order.from <= 1 || known_for.is_some_and(|known| known >= WINDOW),
            order,
            "the engine has known the workload for a stable window",
        );
        if order.to == 0 {
            let annotated = self
                .request_path
                .as_ref()
                .is_some_and(|request_path| request_path.is_annotated(&order.target));
            self.must(annotated, order, "the slice is annotated as scaled to zero");
        }
    }

    /// Checks that every workload that Ebb scaled to zero is reachable: an activator is in the request path, or the
    /// workload has replicas again.
    pub(super) fn check_settled(&self) {
        let Some(request_path) = &self.request_path else {
            return;
        };
        for key in &request_path.brought_to_zero {
            let workload = self.workloads.get(key);
            let asleep = workload.is_some_and(|it| it.replicas == 0 && it.in_engine.is_some());
            if asleep && !request_path.is_reachable(key) {
                let events: Vec<_> = self.events.iter().map(String::as_str).collect();
                panic!(
                    "seed {}: {key} has zero replicas and no activator in its request path: {:?}\n{}",
                    self.seed,
                    request_path.slices,
                    events.join("\n")
                );
            }
        }
    }

    /// Checks that the sizes of the collections are bounded by the number of existing objects.
    pub(super) fn check_memory(&self) {
        let sizes = self.engine.sizes();
        let known = self
            .pods
            .values()
            .filter(|pod| pod.in_engine.is_some())
            .count();
        assert!(
            sizes.pods <= known && sizes.owners <= known,
            "seed {} step {}: {sizes:?} for {known} pods",
            self.seed,
            self.step
        );
        assert!(
            sizes.workloads <= self.workloads.len() && sizes.due == sizes.workloads,
            "seed {} step {}: {sizes:?}",
            self.seed,
            self.step
        );
    }

    fn known_pods_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .values()
            .filter(move |pod| pod.in_engine.is_some() && *pod.workload.namespace == *namespace)
    }

    fn known_pods_of<'a>(&'a self, target: &'a TargetKey) -> impl Iterator<Item = &'a Pod> {
        let namespace = &target.namespace;
        self.known_pods_in(namespace)
            .filter(move |pod| pod.workload == *target && !self.is_dead(pod))
    }

    /// Returns whether the engine requested the owner of a pod from the API server and has never received an answer.
    fn is_pending(&self, pod: &Pod) -> bool {
        self.is_requested(pod) && !self.answered.contains(&pod.owner)
    }

    /// Returns whether the last answer for the owner of a pod was `NoTargetReason::Forbidden`.
    fn is_dead(&self, pod: &Pod) -> bool {
        self.is_requested(pod) && self.answered.contains(&pod.owner)
    }

    fn is_requested(&self, pod: &Pod) -> bool {
        let mut requested = self.requested.iter();
        requested.any(|(_, owner)| *owner == pod.owner)
    }

    fn must(&self, holds: bool, order: &Order, what: &str) {
        if !holds {
            let events: Vec<_> = self.events.iter().map(String::as_str).collect();
            panic!(
                "seed {} step {}: order for {} from {} to {} replicas, but this must hold: {what}\n{}",
                self.seed,
                self.step,
                order.target,
                order.from,
                order.to,
                events.join("\n")
            );
        }
    }
}
