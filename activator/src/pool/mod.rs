//! The meeting point of backends and requests.
//!
//! One short lock holds both the backends and the queue, so a request either has a backend or is
//! in the queue: there is no moment in which a new backend can miss one that waits. Permits are
//! handed over outside the lock, because the one that is refused is dropped, and its drop locks.

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
pub use self::queue::Held;
pub(crate) use self::queue::Place;
use self::queue::Queue;
use crate::backend::Backend;
use crate::counts::{Counts, Tally};
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::refusal::Refusal;

/// The backends there are and the requests that wait for one. A clone is another handle.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    limits: Limits,
    state: Mutex<State>,
    wanted: Notify,
    drained: Notify,
    tally: Tally,
}

/// Between any two calls: if a request waits, no backend takes one. Whatever makes a backend take
/// requests goes through [`Shared::change`], which keeps it so.
struct State {
    backends: Backends,
    queue: Queue,
    cold: Cold,
}

impl Pool {
    /// A pool with no backend: every request waits until one is [added](Pool::add).
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
                wanted: Notify::new(),
                drained: Notify::new(),
                tally: Tally::default(),
            }),
        }
    }

    /// What the backends that are added from now on speak. At first it is [`Protocol::Detect`].
    pub fn set_protocol(&self, protocol: Protocol) {
        self.shared.lock().backends.set_protocol(protocol);
    }

    /// The most requests that any one backend has at a time, 0 for no limit, in place of
    /// [`Limits::hard_limit`]. A backend that has more keeps them, and gets no new ones.
    pub fn set_hard_limit(&self, limit: u32) {
        self.shared
            .change(|state| state.backends.set_hard_limit(limit));
    }

    /// A backend that is ready; requests that wait go to it before this returns. An `id` that is
    /// there already is replaced: its old backend leaves as in [`Pool::remove`].
    pub fn add(&self, id: u64, address: SocketAddr) {
        self.shared.change(|state| state.backends.add(id, address));
    }

    /// No new requests for this backend; those it has go on (see [`Pool::drained`]). Idle
    /// connections to it are closed. An unknown `id` is no error.
    pub fn remove(&self, id: u64) {
        let mut state = self.shared.lock();
        let removed = state.backends.remove(id);
        if removed && state.is_wanting() {
            self.shared.wanted.notify_one();
        }
        drop(state);
        self.shared.drained.notify_waiters();
    }

    /// Requests this backend has from the door at this moment: from the pick until the last byte
    /// of the response, and for an upgraded connection until it ends. 0 for an unknown `id`.
    #[must_use]
    pub fn in_flight(&self, id: u64) -> usize {
        self.shared.lock().backends.in_flight(id)
    }

    /// The same for all backends together, those included that were removed.
    #[must_use]
    pub fn all_in_flight(&self) -> usize {
        self.shared.lock().backends.all_in_flight()
    }

    /// Resolves when no backend of this `id` that was removed has a request left; at once for an
    /// `id` that was never removed. It has no time limit: that is the caller's to set.
    pub async fn drained(&self, id: u64) {
        loop {
            let mut change = std::pin::pin!(self.shared.drained.notified());
            // Listens before it looks, so that no change falls in between.
            change.as_mut().enable();
            if !self.shared.lock().backends.is_leaving(id) {
                return;
            }
            change.await;
        }
    }

    /// The requests that wait, and how long they have; exact at the moment of the call.
    #[must_use]
    pub fn held(&self) -> Held {
        self.shared.lock().queue.held(Instant::now())
    }

    /// How long first requests have waited where there was no backend.
    #[must_use]
    pub fn cold_starts(&self) -> ColdStarts {
        self.shared.lock().cold.so_far()
    }

    /// Resolves when a request comes to be held while there is no backend at all, or when the last
    /// backend is removed while one is held: the wake-up.
    ///
    /// Once for each such event (several since the last call count as one), not all the while a
    /// request is held: after a start that failed, the next request asks again. For one caller.
    pub async fn wanted(&self) {
        loop {
            self.shared.wanted.notified().await;
            // The one that asked may have gone or been served since.
            if self.shared.lock().is_wanting() {
                return;
            }
        }
    }

    /// What became of requests so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.tally.read()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// The limits this pool was made with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// A backend for a request, if there is one this moment. Whoever waits is not overtaken: see
    /// [`State`].
    pub(crate) fn take(&self) -> Option<Permit> {
        let backend = self.shared.lock().backends.take()?;
        Some(Permit::new(Arc::clone(&self.shared), backend))
    }

    /// A backend for a request, waited for in the order of arrival.
    ///
    /// `place` is empty at first and filled when the request is held, so that one that has to
    /// wait again (its backend took no connection) neither loses its turn nor gains time. Dropping
    /// the future gives the place up.
    pub(crate) async fn wait(&self, place: &mut Option<Place>) -> Result<Permit, Refusal> {
        let limits = &self.shared.limits;
        let (place, receiver) = {
            let mut state = self.shared.lock();
            if let Some(backend) = state.backends.take() {
                drop(state);
                return Ok(Permit::new(Arc::clone(&self.shared), backend));
            }
            let now = Instant::now();
            let place = match *place {
                Some(place) => place,
                None if state.queue.len() >= limits.max_queued => {
                    return Err(Refusal::QueueFull {
                        max_queued: limits.max_queued,
                    });
                }
                None => *place.insert(state.queue.place(now)),
            };
            let receiver = state.queue.push(place, now);
            if state.is_wanting() {
                if state.queue.len() == 1 {
                    state.cold.begin(place.since);
                }
                self.shared.wanted.notify_one();
            }
            (place, receiver)
        };
        let _leave = Leave {
            shared: &self.shared,
            place,
        };
        match tokio::time::timeout_at(place.since + limits.max_wait, receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::WaitedTooLong {
                limit: limits.max_wait,
            }),
        }
    }
}

impl Shared {
    /// A panic elsewhere must not take the door down with it: the state is whole between any two
    /// of its methods.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change, then hands over what it has made possible.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let handed = state.match_up();
        drop(state);
        for (waiter, backend) in handed {
            // A waiter that has gone leaves the permit to be dropped here.
            let _gone = waiter.send(Permit::new(Arc::clone(self), backend));
        }
        result
    }

    /// `opening`: it has never had a connection that was taken.
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

    /// A backend has taken a connection.
    fn opened(self: &Arc<Self>, backend: &Arc<Backend>) {
        self.change(|_| backend.opened());
    }

    /// A backend that was set aside accepts again.
    fn take_back(self: &Arc<Self>, backend: &Arc<Backend>) {
        self.change(|_| backend.take_back());
    }
}

impl State {
    fn is_wanting(&self) -> bool {
        self.backends.is_empty() && !self.queue.is_empty()
    }

    /// Pairs those that wait with the backends there are, oldest first.
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

/// Gives the place in the queue up when a request stops waiting, for whatever reason.
struct Leave<'a> {
    shared: &'a Shared,
    place: Place,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.lock().queue.leave(self.place, Instant::now());
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
