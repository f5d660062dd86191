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
}

impl Permit {
    /// For a request that is counted on `backend` already.
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<Backend>) -> Self {
        Permit { shared, backend }
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
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
        self.shared.give_back(&self.backend);
    }
}
