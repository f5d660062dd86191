//! Decisions on averages that are given, one per row. Nothing is modelled: what is not in a row is as the decision
//! before left it.

use ebb_autoscaler_core::{Facts, Settings, Status, Timestamp, Workload};

use super::{clock::at, input::Steps, line::Line};

/// Decides row by row, on a workload that the autoscaler finds with `ready` pods and standing as `status` says.
pub(super) fn replay(
    steps: &Steps,
    settings: Settings,
    ready: u32,
    status: impl FnOnce(Timestamp) -> Status,
    reachable: bool,
) -> Vec<Line> {
    let start = steps.0.first().map_or(at(0.0), |first| at(first.t));
    let mut workload = Workload::restored(start, settings, ready, status(start));
    let mut proxying_since = None;
    let decide = |step: &super::input::Step| {
        let now = at(step.t);
        if let Some(proxied) = step.proxied_for {
            proxying_since = proxied.map(|proxied| now - proxied);
        }
        let facts = Facts {
            ready: step.ready,
            replicas: step.replicas.or(step.ready).unwrap_or(0),
            reachable: step.reachable.unwrap_or(reachable),
            proxying_since,
            activator_answers: step.activator_answers.unwrap_or(Some(true)),
            stale: false,
        };
        let decision = workload.decide_on(now, &facts, step.averages);
        proxying_since = decision.step.proxy.then(|| proxying_since.unwrap_or(now));
        Line::new(step.t, step.ready, &decision)
    };
    steps.0.iter().map(decide).collect()
}
