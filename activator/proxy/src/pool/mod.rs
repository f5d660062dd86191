//! The pool: assigns requests to backends.
//!
//! One lock, held briefly, covers both the backends and the queue. So a request either has a backend or is in the
//! queue, and a new backend cannot miss a queued request. Permits are handed over outside the lock, because a permit is
//! dropped if its receiver is gone, and the drop takes the lock.

mod backends;
mod cold;
mod permit;
mod probe;
mod queue;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::backends::Backends;
use self::cold::Cold;
pub use self::cold::ColdStarts;
pub(crate) use self::permit::Permit;
use self::queue::Queue;
pub(crate) use self::queue::QueuePosition;
pub use self::queue::QueueState;
use crate::backend::Backend;
use crate::counts::{Counters, Counts};
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::refusal::Refusal;

/// The backends and the queued requests. Clones share the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    limits: Limits,
    state: Mutex<State>,
    wake_up: Notify,
    drained: Notify,
    counters: Counters,
}

/// Invariant between any two calls: while a request is queued, no backend has room for a request. Every change that can
/// give a backend room is made in [`Shared::change`], which keeps the invariant.
struct State {
    backends: Backends,
    queue: Queue,
    cold: Cold,
}

impl Pool {
    /// Creates a pool without backends: every request is queued until a backend is [added](Pool::add).
    #[must_use]
    pub fn new(limits: Limits) -> Pool {
        let state = State {
            backends: Backends::new(limits.hard_limit),
            queue: Queue::new(Instant::now()),
            cold: Cold::default(),
        };
        Pool {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::new(state),
                wake_up: Notify::new(),
                drained: Notify::new(),
                counters: Counters::default(),
            }),
        }
    }

    /// Sets the protocol of the backends that are added after this call. The default is [`Protocol::Detect`].
    pub fn set_protocol(&self, protocol: Protocol) {
        self.shared.lock().backends.set_protocol(protocol);
    }

    /// Replaces [`Limits::hard_limit`], the maximum number of concurrent requests per backend; 0 means no limit. A
    /// backend with more requests keeps them and gets no new ones.
    pub fn set_hard_limit(&self, limit: u32) {
        self.shared
            .change(|state| state.backends.set_hard_limit(limit));
    }

    /// Adds a ready backend. Before this function returns, queued requests are handed to it. If `id` is already in the
    /// pool, the new backend replaces the old one, which is removed as by [`Pool::remove`].
    pub fn add(&self, id: u64, address: SocketAddr) {
        self.shared.change(|state| state.backends.add(id, address));
    }

    /// Removes a backend: it gets no new requests, its current requests continue (see [`Pool::drained`]), and its idle
    /// connections are closed. An unknown `id` is not an error.
    pub fn remove(&self, id: u64) {
        let mut state = self.shared.lock();
        let removed = state.backends.remove(id);
        if removed && state.needs_backend() {
            self.shared.wake_up.notify_one();
        }
        drop(state);
        self.shared.drained.notify_waiters();
    }

    /// Returns the number of requests in flight at this backend. A request counts from the choice of the backend until
    /// the last byte of the response. An upgraded connection counts until it ends. Returns 0 for an unknown `id`.
    #[must_use]
    pub fn in_flight(&self, id: u64) -> usize {
        self.shared.lock().backends.in_flight(id)
    }

    /// Returns the number of requests in flight at all backends, including removed ones.
    #[must_use]
    pub fn all_in_flight(&self) -> usize {
        self.shared.lock().backends.all_in_flight()
    }

    /// Resolves when no removed backend with this `id` has a request left. Resolves at once if no backend with this
    /// `id` was removed. There is no time limit: the caller must set one.
    pub async fn drained(&self, id: u64) {
        loop {
            let mut change = std::pin::pin!(self.shared.drained.notified());
            // The notification is registered before the check of `is_leaving`, so that a change after the check is not
            // missed.
            change.as_mut().enable();
            if !self.shared.lock().backends.is_leaving(id) {
                return;
            }
            change.await;
        }
    }

    /// Returns the number of queued requests and the integral of this number over time, both exact at the time of the
    /// call.
    #[must_use]
    pub fn queued(&self) -> QueueState {
        self.shared.lock().queue.queued(Instant::now())
    }

    /// Returns the number and the durations of the cold starts: how long each first request was queued while there was
    /// no backend.
    #[must_use]
    pub fn cold_starts(&self) -> ColdStarts {
        self.shared.lock().cold.so_far()
    }

    /// Resolves on a wake-up: when a request is queued and there is no backend, or when the last backend is removed
    /// while a request is queued.
    ///
    /// Each wake-up resolves one call. Several wake-ups since the last call count as one. If the start of a backend
    /// failed, the next queued request causes a new wake-up. Only one task may wait for wake-ups.
    pub async fn wake_up(&self) {
        loop {
            self.shared.wake_up.notified().await;
            // If the request that caused the wake-up has left the queue, the wake-up is ignored.
            if self.shared.lock().needs_backend() {
                return;
            }
        }
    }

    /// Returns the number of requests by outcome since the pool was created.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Returns the limits that this pool was created with.
    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Returns a permit (the right to send one request to a backend) if a backend has room, without waiting. No queued
    /// request is overtaken, because no backend has room while a request is queued (see [`State`]).
    pub(crate) fn take(&self) -> Option<Permit> {
        let backend = self.shared.lock().backends.take()?;
        Some(Permit::new(Arc::clone(&self.shared), backend))
    }

    /// Waits for a backend. Requests are served in the order of arrival.
    ///
    /// `position` is `None` at first, and is set to the request's position when the request is queued. If its backend
    /// then accepts no connection, the request calls this function again with the same `position`, and so keeps its
    /// position and its deadline. Dropping the future removes the request from the queue.
    pub(crate) async fn wait(
        &self,
        position: &mut Option<QueuePosition>,
    ) -> Result<Permit, Refusal> {
        let limits = &self.shared.limits;
        let (position, receiver) = {
            let mut state = self.shared.lock();
            if let Some(backend) = state.backends.take() {
                drop(state);
                return Ok(Permit::new(Arc::clone(&self.shared), backend));
            }
            let now = Instant::now();
            let position = match *position {
                Some(position) => position,
                None if state.queue.len() >= limits.max_queued => {
                    return Err(Refusal::QueueFull {
                        max_queued: limits.max_queued,
                    });
                }
                None => *position.insert(state.queue.position(now)),
            };
            let receiver = state.queue.push(position, now);
            if state.needs_backend() {
                if state.queue.len() == 1 {
                    state.cold.begin(position.since);
                }
                self.shared.wake_up.notify_one();
            }
            (position, receiver)
        };
        let _leave = Leave {
            shared: &self.shared,
            position,
        };
        match tokio::time::timeout_at(position.since + limits.max_wait, receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::WaitedTooLong {
                limit: limits.max_wait,
            }),
        }
    }
}

impl Shared {
    /// Takes the lock, even if another task has panicked while it held the lock. The state is consistent between any
    /// two of its methods, so the proxy can continue.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change, then hands queued requests to the backends that have room after it.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let handed = state.match_up();
        drop(state);
        for (waiter, backend) in handed {
            // If the request no longer waits, `send` returns the permit. It is dropped here, so the backend can serve
            // another request.
            let _gone = waiter.send(Permit::new(Arc::clone(self), backend));
        }
        result
    }

    /// Records the end of a request. `opening` is true if the backend accepted no connection for the request.
    fn give_back(self: &Arc<Self>, backend: &Arc<Backend>, opening: bool) {
        let drained = self.change(|state| {
            if opening {
                backend.opened();
            }
            state.backends.give_back(backend)
        });
        if drained {
            self.drained.notify_waiters();
        }
    }

    /// Records that a backend has accepted a connection.
    fn opened(self: &Arc<Self>, backend: &Arc<Backend>) {
        self.change(|_| backend.opened());
    }

    /// Makes a backend available again after it was set aside.
    fn take_back(self: &Arc<Self>, backend: &Arc<Backend>) {
        self.change(|_| backend.take_back());
    }
}

impl State {
    fn needs_backend(&self) -> bool {
        self.backends.is_empty() && !self.queue.is_empty()
    }

    /// Assigns queued requests to backends with room, oldest request first.
    fn match_up(&mut self) -> Vec<(oneshot::Sender<Permit>, Arc<Backend>)> {
        let mut handed = Vec::new();
        if self.queue.is_empty() && !self.cold.is_begun() {
            return handed;
        }
        let now = Instant::now();
        while !self.queue.is_empty()
            && let Some(backend) = self.backends.take()
        {
            if let Some(waiter) = self.queue.pop(now) {
                handed.push((waiter, backend));
            }
        }
        match (handed.is_empty(), self.queue.is_empty()) {
            (false, _) => self.cold.end(now),
            (true, true) => self.cold.give_up(),
            (true, false) => {}
        }
        handed
    }
}

/// Removes a request from the queue when it stops waiting for a backend, for any reason.
struct Leave<'a> {
    shared: &'a Shared,
    position: QueuePosition,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared
            .lock()
            .queue
            .leave(self.position, Instant::now());
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
