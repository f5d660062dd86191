//! The data of the live page, read from the engine on each request.

use std::sync::Arc;

use ebb_engine::WorkloadId;
use ebb_page::Source;
use ebb_page_model::{About, Detail, Name, Workload};

use super::{leadership::Leadership, shared::Shared};

/// Number of workloads that are read in one batch, under one lock. The engine can decide between two batches, so a
/// reader delays a decision by at most a fraction of a millisecond, however many workloads exist.
const AT_A_TIME: usize = 128;

/// The engine as the data source of the live page.
#[derive(Debug)]
pub(super) struct PageSource {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: String,
    pub(super) leadership: Arc<Leadership>,
}

impl Source for PageSource {
    fn about(&self) -> About {
        About {
            program: "ebb-autoscaler".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            replica: self.identity.clone(),
            leading: self.leadership.leads(),
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        views(&self.shared)
    }

    fn detail(&self, of: &Name) -> Option<Detail> {
        self.shared.with(|engine, _| engine.detail(of))
    }
}

/// Returns all workloads, each as it was when its batch was read.
pub(super) fn views(shared: &Shared) -> Vec<Workload> {
    in_pieces(|last| shared.with(|engine, _| engine.views_after(last, AT_A_TIME).collect()))
}

/// Returns the workloads for which metrics are exported.
pub(super) fn measured_views(shared: &Shared) -> Vec<Workload> {
    let all = in_pieces(|last| {
        shared.with(|engine, _| engine.measured_views_after(last, AT_A_TIME).collect())
    });
    all.into_iter().flatten().collect()
}

/// Reads all workloads in batches. `read` returns the next batch; its argument is the last workload of the previous
/// batch. An empty batch is the end.
fn in_pieces<T>(read: impl Fn(Option<WorkloadId>) -> Vec<(WorkloadId, T)>) -> Vec<T> {
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let piece = read(last);
        let Some((id, _)) = piece.last() else {
            return all;
        };
        last = Some(*id);
        all.extend(piece.into_iter().map(|(_, view)| view));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
        thread,
    };

    use ebb_engine::{Engine, Queueing, TargetFacts, TargetKey};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{boot::BootClock, testing::opted_in};

    const MANY: u64 = 10_000;

    fn shared() -> Arc<Shared> {
        let (outbox, _) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(
            Engine::new(Queueing::Nowhere).with_most_workloads(MANY as usize),
            outbox,
        ));
        shared.with(|engine, now| {
            engine.configure(now, ebb_autoscaler_core::Config::default());
            engine.begin(now);
            for number in 0..MANY {
                let key = TargetKey::new("apps", "Deployment", "many", &format!("web-{number:05}"));
                let facts = TargetFacts {
                    uid: format!("{number}").into(),
                    ..opted_in(key, "1")
                };
                engine.target_seen(now, facts);
            }
        });
        shared
    }

    #[tokio::test]
    async fn all_are_seen_in_order_and_each_once() {
        let shared = shared();
        let seen = views(&shared);
        assert_eq!(seen.len() as u64, MANY);
        assert!(seen.is_sorted_by(|one, next| one.name < next.name));
        let shown = PageSource {
            shared,
            identity: "first".to_owned(),
            leadership: Leadership::new(BootClock::new()),
        };
        for kind in ["Deployment", "Deployment.apps"] {
            let name = format!("many/{kind}/web-00042").parse().unwrap();
            let detail = shown.detail(&name).unwrap();
            assert_eq!(detail.workload.name, "web-00042");
        }
        let other = "many/Deployment.other/web-00042".parse().unwrap();
        assert!(shown.detail(&other).is_none());
    }

    /// Reads all workloads while another thread uses the engine repeatedly, and checks that the other thread gets the
    /// engine in between. If all workloads were read under one lock, the other thread would wait.
    #[tokio::test]
    async fn who_looks_at_all_holds_nobody_up() {
        let shared = shared();
        let (ended, between) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    shared.with(|_, _| between.fetch_add(1, Ordering::Relaxed));
                    thread::yield_now();
                }
            });
            for _ in 0..20 {
                views(&shared);
            }
            ended.store(true, Ordering::Relaxed);
        });
        let between = between.load(Ordering::Relaxed);
        assert!(
            between > 20,
            "another thread could lock the engine only {between} times while all workloads were read 20 times"
        );
    }
}
