//! The Secret and the ConfigMap for the autoscaler's certificate are part of the manifests. The autoscaler fills both
//! objects. The data is kept if the manifests are applied again. If one of the objects is missing, the autoscaler names
//! it in its log.

use std::path::Path;
use std::process::Command;

use ebb_e2e::api::path;
use ebb_e2e::{Autoscaler, Cluster, SOON, SYSTEM, manifests};
use ebb_fixtures::{Case, Need, eventually, kubectl};
use serde_json::Value;

use super::installed;

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::t9_the_secret_is_filled_and_stays_when_applied_again",
        &[Need::ControlPlane, Need::Kubectl],
        applied_again,
    ),
    Case::beside("trust::t9_a_secret_that_is_gone_is_named", &[], gone),
];

const MANIFEST: &str = "deploy/base/certificate.yaml";

fn secret() -> String {
    path("v1", "Secret", SYSTEM, "ebb-autoscaler-tls")
}

fn authority() -> String {
    path("v1", "ConfigMap", SYSTEM, "ebb-autoscaler-ca")
}

fn apply(kubeconfig: &Path, options: &[&str]) {
    let output = Command::new(kubectl().expect("it is asked for"))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["apply", "-f"])
        .arg(manifests::file(MANIFEST))
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn applied_again() {
    let cluster = installed();
    let api = cluster.api();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let data = || {
        let of = |object: &str| api.get(object).unwrap()["data"].clone();
        (of(&secret()), of(&authority()))
    };
    const SERVER_SIDE: &[&str] = &["--server-side", "--force-conflicts"];
    for first in [&[], SERVER_SIDE] {
        for object in [secret(), authority()] {
            api.delete(&object).ok();
        }
        apply(&kubeconfig, first);
        assert_eq!(data(), (Value::Null, Value::Null));
        Autoscaler::start(&cluster, "first", &[]).finish();
        let filled = data();
        assert!(filled.0["tls.key"].is_string() && filled.1["ca.crt"].is_string());
        for again in [&[], SERVER_SIDE, &[]] {
            apply(&kubeconfig, again);
            assert_eq!(
                data(),
                filled,
                "the data changed: manifests applied with {first:?}, then with {again:?}"
            );
        }
        Autoscaler::start(&cluster, "second", &[]).finish();
        assert_eq!(
            data(),
            filled,
            "another replica must use the existing certificate"
        );
    }
}

fn gone() {
    let cluster = Cluster::double();
    for (object, name) in [
        (authority(), "ConfigMap ebb-autoscaler-ca"),
        (secret(), "Secret ebb-autoscaler-tls"),
    ] {
        cluster.api().delete(&object).unwrap();
        let replica = Autoscaler::launch(&cluster, "first", &[]);
        eventually("the log names the missing object", SOON, || {
            let log = replica.log();
            (log.contains(name) && log.contains(MANIFEST)).then_some(())
        });
    }
}
