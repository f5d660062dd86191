//! The rights of the accounts, as they are installed.

use std::path::Path;

use ebb_tests::cluster::Cluster;
use serde_json::Value;

/// Gives the accounts the rights that `deploy/` gives them.
pub(crate) fn apply(cluster: &Cluster) {
    for object in objects("deploy/base/rbac.yaml") {
        cluster.api().apply(&object);
    }
}

/// The objects of a manifest of this project.
pub(crate) fn objects(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}
