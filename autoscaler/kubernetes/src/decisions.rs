//! The decision loop: has the engine decide what is due.
//!
//! Bias: the engine decides some workloads at a time, and between these, other tasks use the engine. So reports are
//! taken in at any time. Failure mode: with too many workloads for one CPU, decisions come later than every two
//! seconds.

use std::{sync::Arc, time::Duration};

use ebb_autoscaler_core::Timestamp;
use tokio::time::{self, Instant};

use crate::shared::Shared;

/// Longest sleep of the decision loop between two rounds, hence also the most by which a due decision is late.
const ROUND: Duration = Duration::from_millis(100);
/// Shortest sleep of the decision loop unless it is woken: decisions that are due within this time are taken in one round.
/// Shortest sleep of the decision loop unless it is woken: decisions that are due within this time are taken in one round.
/// Each round looks at every workload, and ten thousand workloads are due at ten thousand different moments.
const TOGETHER: Duration = Duration::from_millis(10);
/// How often senders that no longer report are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Takes the decisions that are due, without end.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut swept = Instant::now();
    loop {
        let next = shared.with(|engine, now| {
            let due = engine.decide_due(now);
            due.map(|due| due.since(now))
        });
        shared.beat();
        if next == Some(Duration::ZERO) {
            // More decisions are due. Tasks that wait for the engine go first.
            tokio::task::yield_now().await;
            continue;
        }
        if swept.elapsed() > SWEEP {
            swept = Instant::now();
            shared.with(|engine, now: Timestamp| engine.sweep(now));
        }
        let wait = next.map_or(ROUND, |next| next.clamp(TOGETHER, ROUND));
        tokio::select! {
            () = time::sleep(wait) => {}
            () = shared.sooner.notified() => {}
        }
    }
}
