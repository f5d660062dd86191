//! `deploy/ebb.yaml` matches its sources, and a Kubernetes API server accepts the manifests.

use std::path::Path;
use std::process::Command;

use ebb_e2e::manifests;
use ebb_fixtures::{Case, Need, kubectl};
use serde_json::json;

use crate::kinds;
use crate::world::shared;

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "deploy::the_one_file_is_the_base_rendered",
        &[Need::Kubectl],
        golden,
    ),
    Case::beside(
        "deploy::every_manifest_is_accepted",
        &[Need::Cgroup, Need::ControlPlane, Need::Kubectl],
        accepted,
    ),
];

/// The Kustomize components that can be added to the base.
const COMPONENTS: [&str; 5] = [
    "components/activator",
    "components/cert-manager",
    "components/prometheus-operator",
    "components/recommend",
    "grafana",
];

/// Third-party kinds that the components use, as group, version and kind. The test defines a stand-in for each.
const THEIRS: [(&str, &str, &str); 4] = [
    ("cert-manager.io", "v1", "Certificate"),
    ("cert-manager.io", "v1", "Issuer"),
    ("monitoring.coreos.com", "v1", "PodMonitor"),
    ("monitoring.coreos.com", "v1", "PrometheusRule"),
];

fn rendered(folder: &Path) -> String {
    let kubectl = kubectl().expect("it is asked for");
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that the golden file `deploy/ebb.yaml` is up to date; `cargo xtask manifests` rewrites it.
fn golden() {
    let file = std::fs::read_to_string(manifests::file(manifests::RENDERED)).unwrap();
    let rendered = rendered(&manifests::file("deploy/base"));
    assert!(
        file == rendered,
        "{} differs from the rendered deploy/base: run cargo xtask manifests",
        manifests::RENDERED
    );
}

/// Checks all manifests with a server-side dry run and strict validation: an unknown field is an error.
fn accepted() {
    let world = shared();
    for (group, version, kind) in THEIRS {
        kinds::define(world.api(), group, version, kind);
    }
    let beside = tempfile::tempdir().unwrap();
    let place = |name: &str| manifests::from(beside.path(), &format!("deploy/{name}"));
    for component in [None].into_iter().chain(COMPONENTS.map(Some)) {
        let components: Vec<_> = component.iter().map(|name| place(name)).collect();
        let kustomization = json!({"resources": [place("base")], "components": components});
        std::fs::write(
            beside.path().join("kustomization.yaml"),
            kustomization.to_string(),
        )
        .unwrap();
        let objects = manifests::parse(&rendered(beside.path())).unwrap();
        assert!(
            objects.len() > 20,
            "{component:?}: {} objects",
            objects.len()
        );
        for object in objects {
            world.api().dry_run(&object);
        }
    }
}
