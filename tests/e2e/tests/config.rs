//! Changes of the ConfigMap `config-autoscaler` while the autoscaler runs.

use ebb_e2e::api::path;
use ebb_e2e::{SOON, SYSTEM};
use ebb_fixtures::{Case, eventually};
use serde_json::{Value, json};

use crate::world::{FAST, NODES, await_event, shared};

pub(crate) const CASES: &[Case] = &[Case::beside(
    "config::a_bad_one_is_refused_whole",
    NODES,
    bad_is_refused_whole,
)];

fn bad_is_refused_whole() {
    let world = shared();
    let app = world.app("settings", "web", 1, &[FAST]);
    let target = || app.view()["target"].as_f64();
    eventually("the default target", SOON, || {
        (target() == Some(70.0)).then_some(())
    });
    let set = |data: Value| {
        world.api().apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config-autoscaler", "namespace": SYSTEM}, "data": data,
        }));
    };
    set(json!({"container-concurrency-target-default": "50"}));
    eventually("the new target", SOON, || {
        (target() == Some(35.0)).then_some(())
    });
    set(json!({"container-concurrency-target-default": "20", "max-scale-up-rate": "0"}));
    let note = await_event(
        world.api(),
        SYSTEM,
        "ConfigMap",
        "config-autoscaler",
        "InvalidSettings",
    );
    assert!(note.contains("max-scale-up-rate"), "{note}");
    assert_eq!(
        target(),
        Some(35.0),
        "one invalid value must reject the whole ConfigMap: the previous settings stay in force"
    );
    world
        .api()
        .delete(&path("v1", "ConfigMap", SYSTEM, "config-autoscaler"))
        .unwrap();
    eventually("the default again", SOON, || {
        (target() == Some(70.0)).then_some(())
    });
}
