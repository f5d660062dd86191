//! The right to have one request in flight at one backend.
//!
//! RAII: the permit is dropped in every case in which a request ends (answered, aborted, client gone, task dropped).
//! The drop subtracts the request from the requests in flight, so no ended request remains counted.

use std::sync::Arc;

use super::{Shared, probe};
use crate::backend::Backend;

#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    backend: Arc<Backend>,
    /// True if the request may still need a new connection.
    opening: bool,
}

impl Permit {
    /// Creates a permit for a request that is already counted on `backend`.
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<Backend>) -> Self {
        Permit {
            shared,
            backend,
            opening: true,
        }
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Returns whether the request may still need a new connection: true until [`Permit::opened`] is called.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening
    }

    /// Records that the backend has accepted the request's connection. After this call, another connection to the
    /// backend can be opened.
    pub(crate) fn opened(&mut self) {
        if std::mem::take(&mut self.opening) {
            self.shared.opened(&self.backend);
        }
    }

    /// Sets the backend aside because it accepted no connection. The backend gets no requests until it accepts
    /// connections again.
    pub(crate) fn set_aside(self) {
        if self.backend.set_aside() {
            tracing::debug!(
                backend = self.backend.id(),
                address = %self.backend.address(),
                "set aside"
            );
            tokio::spawn(probe::until_it_accepts(
                Arc::downgrade(&self.shared),
                Arc::clone(&self.backend),
            ));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.give_back(&self.backend, self.opening);
    }
}
