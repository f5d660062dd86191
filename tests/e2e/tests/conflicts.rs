//! A conflicting autoscaler: Ebb does not scale a workload that another autoscaler scales.

use std::time::Duration;

use ebb_e2e::SOON;
use ebb_e2e::api::path;
use ebb_fixtures::Case;
use serde_json::json;

use crate::world::{FAST, FIVE, NODES, TEN, shared};

pub(crate) const CASES: &[Case] = &[Case::beside(
    "conflicts::a_target_with_an_hpa_is_refused",
    NODES,
    hpa,
)];

fn hpa() {
    let world = shared();
    world.cluster.namespace("conflict");
    world.api().apply(&json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": "conflict"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3,
        },
    }));
    let app = world.app("conflict", "web", 1, &[FAST, TEN]);
    let note = app.await_event("ConflictingAutoscaler");
    assert!(
        note.contains("HorizontalPodAutoscaler conflict/theirs"),
        "{note}"
    );
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    app.assert_stays(1, Duration::from_secs(7));
    world
        .api()
        .delete(&path(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "conflict",
            "theirs",
        ))
        .unwrap();
    // After the HorizontalPodAutoscaler is deleted, Ebb scales the workload immediately, because Ebb's averaging
    // windows are already full.
    app.await_replicas(SOON, |replicas| replicas >= 4);
}
