//! The start of a replica: it reads all initial lists, then makes decisions, then becomes a candidate for leadership.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::watch as channel;
use tracing::info;

use crate::{lease::Candidate, metrics::Metrics, shared::Shared, status::Status, sync::Sync};

/// The start: this replica neither leads nor decides before all initial lists have been read. Some owner references may
/// still be unresolved then: while the owner of a pod is not known, the workloads of its namespace are not scaled down.
pub(super) struct Start {
    pub(super) known: Sync,
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Status>,
    pub(super) metrics: Arc<Metrics>,
}

impl Start {
    pub(super) async fn then_stand(
        self,
        candidate: Candidate,
        leading: channel::Receiver<bool>,
        mut ending: channel::Receiver<bool>,
    ) {
        tokio::select! {
            () = self.known.done() => {}
            _ = ending.wait_for(|end| *end) => return,
        }
        self.shared.beat();
        self.shared.with(|engine, now| engine.begin(now));
        self.shared.decision_wake_up.notify_one();
        self.status.ready.store(true, Ordering::Relaxed);
        info!("ready");
        // The initial lists have been processed, so their memory is returned to the system.
        ebb_metrics::memory::give_back();
        let followed = follow_leading(leading, self.shared, self.metrics);
        // `followed` ends only when `Leadership` is dropped. That happens after the candidate for the Lease has ended.
        tokio::select! {
            () = candidate.run(ending) => {}
            () = followed => {}
        }
    }
}

/// Passes each change of leadership to the engine and to the metric.
async fn follow_leading(
    mut leading: channel::Receiver<bool>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
) {
    loop {
        let leads = *leading.borrow_and_update();
        metrics.leads(leads);
        shared.with(|engine, _| engine.lead(leads));
        if leading.changed().await.is_err() {
            return;
        }
    }
}
