//! Makes decisions on given averages, one per row. Pods are not simulated. If a row does not say how long the activator
//! has been in the request path, the state after the previous decision is used.

use ebb_autoscaler_core::{Facts, Settings, Status, Timestamp, Workload};

use super::{clock::at, input::Steps, line::Line};

/// Makes one decision per row. At its start, the autoscaler finds the workload with `ready` ready pods and in the state
/// `status`.
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
