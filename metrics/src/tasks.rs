//! The long-lived tasks of a program. When the first of them ends, the program ends.
//!
//! Otherwise a program would continue after one of its background tasks has ended, for example with a watch that no
//! task reads, or with a Lease that no task renews. So every task that must run as long as the program is started by a
//! [`Tasks`], and `main` waits for [`Tasks::broken`]. Bias: a restart is better than a program that has stopped
//! working. Failure mode: a task that hangs does not end, so it is not detected here. `/healthz` and the metrics must
//! show it.

use std::{
    any::Any, borrow::Cow, error::Error, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc,
};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinHandle};

/// The long-lived tasks of a program. All clones share the same tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// The first task that ended; `None` while all of them run.
    first: Arc<watch::Sender<Option<TaskEnded>>>,
}

/// A task that ended although it must run as long as the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEnded {
    /// The name of the task.
    name: Cow<'static, str>,
    /// The reason why the task ended, as text.
    why: String,
}

impl Tasks {
    /// Creates an empty set of tasks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            first: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Starts a task that must run as long as the program. If the task ends, [`Tasks::broken`] returns an error with
    /// `name`.
    ///
    /// The returned handle is for an orderly end of the program, to wait for work in progress. Dropping it does not
    /// stop the task.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (first, name) = (Arc::clone(&self.first), name.into());
        tokio::spawn(async move {
            // After a panic, the state of the task may be inconsistent. This state is not used again, because the
            // program ends.
            let why = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) => "it returned".to_owned(),
                Err(panic) => format!("the task panicked: {}", message(&*panic)),
            };
            first.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(TaskEnded { name, why });
                is_first
            });
        })
    }

    /// Resolves when a task has ended. Returns the first task that ended.
    pub async fn broken(&self) -> TaskEnded {
        let mut first = self.first.subscribe();
        loop {
            if let Some(ended) = &*first.borrow_and_update() {
                return ended.clone();
            }
            if first.changed().await.is_err() {
                // Never reached: the channel is closed only when its sender is dropped, and the sender is `self.first`.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

impl fmt::Display for TaskEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why } = self;
        write!(
            f,
            "the task \"{name}\" ended, but must run as long as the program: {why}; the program exits to be restarted"
        )
    }
}

impl Error for TaskEnded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p9_the_first_task_that_ends_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("stays", std::future::pending());
        tasks.spawn("returns", async {});
        let ended = tasks.broken().await;
        assert_eq!(ended.name, "returns");
        assert!(ended.to_string().contains("it returned"), "{ended}");
        // Another task ends later. `broken` must still return the task that ended first.
        let later = tasks.spawn("later", async {});
        later.await.unwrap();
        assert_eq!(tasks.broken().await.name, "returns");
    }

    #[tokio::test]
    async fn p9_a_panic_is_told_with_its_message() {
        let tasks = Tasks::new();
        let from_a_task = tasks.clone();
        // A task that is started by another task is supervised, too.
        tasks.spawn("outer", async move {
            from_a_task.spawn("inner", async { panic!("no more {}", "memory") });
            std::future::pending::<()>().await;
        });
        let ended = tasks.broken().await;
        assert_eq!(
            (&*ended.name, &*ended.why),
            ("inner", "the task panicked: no more memory")
        );
    }
}
