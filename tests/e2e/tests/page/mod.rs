//! The live page in a real browser, and the dashboards.

mod burst;
mod everybody;
mod grafana;
mod many;
mod run;

use ebb_fixtures::{Case, Need};

const CHROMIUM: Need = Need::Tool("chromium");

pub(crate) const CASES: &[Case] = &[
    Case::new(
        "page::shows_a_burst_as_it_happens_and_survives_a_restart",
        &[Need::Cgroup, CHROMIUM],
        burst::burst,
    ),
    Case::new(
        "page::everybody_can_use_it",
        &[Need::Cgroup, CHROMIUM, Need::Npm("axe-core")],
        everybody::accessible,
    ),
    Case::new("page::ten_thousand_workloads", &[CHROMIUM], many::many),
    Case::new(
        "page::ebb_run_serves_it_too",
        &[Need::Ebb, CHROMIUM],
        run::run,
    ),
    Case::beside(
        "page::dashboards_fit_grafanas_types",
        &[
            Need::Tool("node"),
            Need::Npm("typescript"),
            Need::Npm("@grafana/schema"),
        ],
        grafana::types,
    ),
];
