//! Clients of a Service. Each client sends one request after another, each to one of the Service's current endpoints.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ebb_e2e::block_on;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::zero::get;

/// Path of the requests: the pod answers each after 200 ms.
const PATH: &str = "/?sleep=200";

/// Clients that send requests while they are set to busy.
pub(super) struct Clients {
    shared: Arc<Shared>,
    busy: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Shared {
    fn failed(&self) -> MutexGuard<'_, Vec<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, why: String) {
        self.failed().push(why);
    }
}

impl Clients {
    pub(super) fn new(
        clients: usize,
        pick: impl Fn() -> Option<SocketAddr> + Send + Sync + Clone + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let busy = watch::Sender::new(false);
        let task = |shared: Arc<Shared>, mut busy: watch::Receiver<bool>| {
            let pick = pick.clone();
            async move {
                while busy.wait_for(|busy| *busy).await.is_ok() {
                    let asked = Instant::now();
                    match get(pick.clone(), PATH.to_owned()).await {
                        Ok(answer) if answer.status == 200 => {
                            shared.answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => {
                            shared.fail(format!("{other:?} after {:.1?}", asked.elapsed()));
                            // The pause after each failed request limits the number of recorded failures.
                            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        };
        let tasks = block_on(async {
            (0..clients)
                .map(|_| tokio::spawn(task(Arc::clone(&shared), busy.subscribe())))
                .collect()
        });
        Self {
            shared,
            busy,
            tasks,
        }
    }

    /// Starts or pauses the clients; requests in flight are completed.
    pub(super) fn set(&self, busy: bool) {
        self.busy.send_replace(busy);
    }

    /// Returns the number of answered requests, and the errors of the failed requests.
    pub(super) fn outcome(&self) -> (u64, Vec<String>) {
        let failed = self.shared.failed().clone();
        (self.shared.answered.load(Ordering::Relaxed), failed)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
