//! The right to have one request at one backend.
//!
//! RAII: however a request ends (answered, broken off, its client gone, its task dropped), its
//! permit is dropped, so what the door says is in flight can never leak.

use std::sync::Arc;

use super::{Shared, probe};
use crate::backend::Backend;

#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    backend: Arc<Backend>,
    /// The backend may have a connection to take for it.
    opening: bool,
}

impl Permit {
    /// For a request that is counted on `backend` already.
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

    /// Nobody has said yet that the request has a connection.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening
    }

    /// The request has a connection that the backend has taken: it has time for another one.
    pub(crate) fn opened(&mut self) {
        if std::mem::take(&mut self.opening) {
            self.shared.opened(&self.backend);
        }
    }

    /// The backend took no connection: nothing more goes to it until it does.
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
