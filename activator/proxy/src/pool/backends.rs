//! The backends of a pool, and the choice of a backend for the next request.
//!
//! The backend with the fewest requests in flight is chosen. Backends with equally many requests are chosen in
//! rotation. A backend is skipped if it has reached the hard limit or the maximum number of concurrent connection
//! attempts. A backend that refused a connection is set aside: it remains in the pool, but gets no requests until it
//! accepts connections again.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::backend::Backend;
use crate::protocol::Protocol;

#[derive(Debug, Default)]
pub(crate) struct Backends {
    here: Vec<Arc<Backend>>,
    /// Removed backends that still have requests in flight.
    leaving: Vec<Arc<Backend>>,
    /// Start of the next search. It advances with each search, so that backends with equally many requests are chosen
    /// in rotation.
    turn: usize,
    /// Maximum number of concurrent requests per backend; 0 means no limit.
    hard_limit: u32,
    protocol: Protocol,
}

impl Backends {
    pub(crate) fn new(hard_limit: u32) -> Self {
        Backends {
            hard_limit,
            ..Backends::default()
        }
    }

    pub(crate) fn set_hard_limit(&mut self, limit: u32) {
        self.hard_limit = limit;
    }

    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.here.is_empty()
    }

    /// Adds a backend. If `id` is already in use, the old backend is removed.
    pub(crate) fn add(&mut self, id: u64, address: SocketAddr) {
        self.remove(id);
        self.here
            .push(Arc::new(Backend::new(id, address, self.protocol)));
    }

    /// Removes a backend. Returns false if no backend has this `id`.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(index) = self.here.iter().position(|backend| backend.id() == id) else {
            return false;
        };
        let backend = self.here.swap_remove(index);
        backend.close();
        if backend.in_flight() > 0 {
            self.leaving.push(backend);
        }
        true
    }

    /// Chooses the backend for a request, and counts the request on that backend.
    pub(crate) fn take(&mut self) -> Option<Arc<Backend>> {
        let count = self.here.len();
        let limit = match self.hard_limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        self.turn = self.turn.wrapping_add(1);
        let backend = (0..count)
            .map(|step| &self.here[self.turn.wrapping_add(step) % count])
            .filter(|backend| {
                !backend.is_aside() && backend.can_open() && backend.in_flight() < limit
            })
            .min_by_key(|backend| backend.in_flight())?;
        backend.begin();
        Some(Arc::clone(backend))
    }

    /// Subtracts a request that has ended. Returns true if the backend was removed and has no request left.
    pub(crate) fn give_back(&mut self, backend: &Arc<Backend>) -> bool {
        let left = backend.end();
        if left > 0 || !backend.is_closed() {
            return false;
        }
        self.leaving.retain(|other| !Arc::ptr_eq(other, backend));
        true
    }

    /// Returns the number of requests in flight at all current and removed backends with this `id`.
    pub(crate) fn in_flight(&self, id: u64) -> usize {
        let all = self.here.iter().chain(&self.leaving);
        all.filter(|backend| backend.id() == id)
            .map(|backend| backend.in_flight())
            .sum()
    }

    /// Returns the number of requests in flight at all backends.
    pub(crate) fn all_in_flight(&self) -> usize {
        let all = self.here.iter().chain(&self.leaving);
        all.map(|backend| backend.in_flight()).sum()
    }

    pub(crate) fn is_leaving(&self, id: u64) -> bool {
        self.leaving.iter().any(|backend| backend.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(ids: &[u64]) -> Backends {
        let mut backends = Backends::default();
        for &id in ids {
            backends.add(id, SocketAddr::from(([127, 0, 0, 1], 1)));
        }
        backends
    }

    #[test]
    fn least_in_flight_first_and_equals_in_turn() {
        let mut backends = backends(&[1, 2, 3]);
        let mut first: Vec<u64> = (0..3)
            .filter_map(|_| backends.take())
            .map(|b| b.id())
            .collect();
        first.sort_unstable();
        assert_eq!(first, [1, 2, 3]);
        let fourth = backends.take().expect("there are three");
        let fifth = backends.take().expect("there are three");
        assert_ne!(fourth.id(), fifth.id());
        assert!(!backends.give_back(&fourth));
        assert!(!backends.give_back(&fourth));
        assert_eq!(backends.take().map(|b| b.id()), Some(fourth.id()));
    }

    #[test]
    fn set_aside_is_not_taken() {
        let mut backends = backends(&[1, 2]);
        let aside = backends.take().expect("there are two");
        assert!(aside.set_aside());
        let others: Vec<_> = (0..4)
            .filter_map(|_| backends.take())
            .map(|b| b.id())
            .collect();
        assert!(others.iter().all(|&id| id != aside.id()));
    }

    #[test]
    fn a_replaced_id_drains_the_old_one() {
        let mut backends = backends(&[1]);
        let old = backends.take().expect("there is one");
        backends.add(1, SocketAddr::from(([127, 0, 0, 1], 2)));
        assert_eq!((backends.in_flight(1), backends.is_leaving(1)), (1, true));
        assert!(backends.give_back(&old));
        assert_eq!((backends.in_flight(1), backends.is_leaving(1)), (0, false));
        assert_eq!(backends.take().map(|b| b.address().port()), Some(2));
    }
}
