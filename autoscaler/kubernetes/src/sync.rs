//! Tracks whether all initial lists have been read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The number of initial lists that have not been read yet.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    left: Arc<watch::Sender<usize>>,
}

/// The initial list of one watch. The first call of `done` records that the list has been read. Later calls have no
/// effect, because a watch may read its list again.
#[derive(Debug)]
pub(super) struct Part {
    left: Mutex<Option<Arc<watch::Sender<usize>>>>,
}

impl Sync {
    pub(super) fn new() -> Self {
        Self {
            left: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(super) fn part(&self) -> Part {
        self.left.send_modify(|left| *left += 1);
        Part {
            left: Mutex::new(Some(Arc::clone(&self.left))),
        }
    }

    /// Resolves when all initial lists have been read.
    pub(super) async fn done(&self) {
        // The channel cannot close, because `self` has its sender `left`.
        let _ = self.left.subscribe().wait_for(|left| *left == 0).await;
    }
}

impl Part {
    pub(super) fn done(&self) {
        let left = self
            .left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(left) = left {
            left.send_modify(|left| *left -= 1);
        }
    }
}
