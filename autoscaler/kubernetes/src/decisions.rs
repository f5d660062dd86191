//! The decision loop: the engine makes the decisions that are due.
//!
//! Bias: the engine makes decisions for a limited number of workloads at a time, and other tasks can use the engine in
//! between. So reports are accepted at any time. Failure mode: with too many workloads for one CPU, decisions are made
//! less often than every two seconds.

use std::{sync::Arc, time::Duration};

use ebb_autoscaler_core::Timestamp;
use tokio::time::{self, Instant};

use crate::shared::Shared;

/// Longest sleep of the decision loop between two rounds. A decision is late by at most this time.
const ROUND: Duration = Duration::from_millis(100);
/// Shortest sleep of the decision loop, unless the loop is woken. Decisions that are due within this time are made in
/// one round: each round checks every workload, and ten thousand workloads may be due at ten thousand different times.
const TOGETHER: Duration = Duration::from_millis(10);
/// Interval at which senders that no longer report are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Makes the decisions that are due, without end.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut swept = Instant::now();
    loop {
        let next = shared.with(|engine, now| {
            let due = engine.decide_due(now);
            due.map(|due| due.since(now))
        });
        shared.beat();
        if next == Some(Duration::ZERO) {
            // More decisions are due. Before the next round, tasks that wait for the engine may run.
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
            () = shared.decision_wake_up.notified() => {}
        }
    }
}
