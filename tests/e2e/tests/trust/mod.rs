//! A control plane that can be trusted: cases from production use, by their ids.

mod certificate;
mod cluster;
mod front;
mod io;
mod network;
mod node;
mod rights;
mod security_md;
mod tenants;

use ebb_e2e::{Cluster, install_activator};
use ebb_fixtures::{Case, Held, Shared};

pub(crate) const CASES: &[&[Case]] = &[
    cluster::CASES,
    tenants::CASES,
    certificate::CASES,
    front::CASES,
    io::CASES,
    network::CASES,
    node::CASES,
    rights::CASES,
    security_md::CASES,
];

/// A cluster with all manifests of Ebb installed, without running programs.
static INSTALLED: Shared<Cluster> = Shared::new();

fn installed() -> Held<Cluster> {
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
