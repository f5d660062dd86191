//! Tests of trust in Ebb: it must stay correct with failures, and with hostile tenants. The cases are from production
//! use. The test names begin with the ids of the cases, such as `p5` or `t9`.

mod certificate;
mod cluster;
mod io;
mod network;
mod node;
mod request_path;
mod rights;
mod security_md;
mod tenants;

use ebb_e2e::{Cluster, install_activator};
use ebb_fixtures::{Case, Shared, SharedRef};

pub(crate) const CASES: &[&[Case]] = &[
    cluster::CASES,
    tenants::CASES,
    certificate::CASES,
    request_path::CASES,
    io::CASES,
    network::CASES,
    node::CASES,
    rights::CASES,
    security_md::CASES,
];

/// A shared cluster with all manifests of Ebb applied, but without running programs of Ebb.
static INSTALLED: Shared<Cluster> = Shared::new();

fn installed() -> SharedRef<Cluster> {
    INSTALLED.get(|| {
        let cluster = Cluster::new();
        install_activator(cluster.api());
        cluster
    })
}

/// Ends the shared cluster.
pub(crate) fn end() {
    INSTALLED.end();
}
