//! Dashboards, rules and alerts: each alert fires, and each query has data.

mod boards;
mod causes;
mod live;
mod proxied_port;
mod rules;
mod server;

use ebb_fixtures::{Case, Need};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "prometheus::every_alert_fires_and_is_explained",
        &[Need::Tool("promtool")],
        rules::fire,
    ),
    Case::beside(
        "prometheus::the_operator_gets_the_same_rules",
        &[],
        rules::same,
    ),
    Case::beside(
        "prometheus::every_query_has_data",
        &[Need::Kernel, Need::Tool("prometheus")],
        live::queries,
    ),
    Case::new(
        "prometheus::every_alert_fires_live",
        &[
            Need::Kernel,
            Need::Mounts,
            Need::Tool("prometheus"),
            Need::Tool("setarch"),
        ],
        causes::alerts,
    ),
];
