//! Admission of connections: limits for connections whose sender is not authenticated yet (a stranger), and for all
//! connections.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Maximum number of connections of strangers: senders that have not sent a valid token yet. If all agents restart,
/// they connect within seconds. The limit is many times the number of TLS handshakes that a node can do per second.
const STRANGERS: usize = 2_048;
/// Maximum number of connections from one address whose senders have not sent a valid token yet (strangers). The limit
/// is greater than one, because nodes behind NAT share an address. An attacker's pod has one address, so it cannot use
/// up the limit for all strangers.
const STRANGERS_OF_ONE: usize = 64;

/// Counts and limits the connections to the report port.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    strangers: usize,
    strangers_of: HashMap<IpAddr, usize>,
}

/// An admitted connection, which counts towards the limits until this value is dropped.
#[derive(Debug)]
pub(super) struct AdmittedConnection {
    limiter: Arc<ConnectionLimiter>,
    /// The address of the sender until a valid token has arrived; `None` after that.
    stranger: Mutex<Option<IpAddr>>,
}

impl ConnectionLimiter {
    /// Creates a connection limiter that admits at most `most` connections at the same time.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            counts: Mutex::default(),
        }
    }

    /// Admits a new connection from `address`, whose sender is not authenticated yet (a stranger). Returns a value that
    /// counts the connection until it is dropped; `None` if a limit is reached and the connection must be refused.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<AdmittedConnection> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = counts.strangers_of.get(&address).copied().unwrap_or(0);
        if counts.all >= self.most || counts.strangers >= STRANGERS || of_one >= STRANGERS_OF_ONE {
            return None;
        }
        counts.all += 1;
        counts.strangers += 1;
        counts.strangers_of.insert(address, of_one + 1);
        Some(AdmittedConnection {
            limiter: Arc::clone(self),
            stranger: Mutex::new(Some(address)),
        })
    }
}

impl Counts {
    fn authenticated(&mut self, address: IpAddr) {
        self.strangers -= 1;
        if let Some(of_one) = self.strangers_of.get_mut(&address) {
            *of_one -= 1;
            if *of_one == 0 {
                self.strangers_of.remove(&address);
            }
        }
    }
}

impl AdmittedConnection {
    /// Records that a valid token has arrived: the limits for unauthenticated senders no longer apply to the
    /// connection.
    pub(super) fn authenticated(&self) {
        let address = self
            .stranger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(address) = address {
            let mut counts = self
                .limiter
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            counts.authenticated(address);
        }
    }
}

impl Drop for AdmittedConnection {
    fn drop(&mut self) {
        self.authenticated();
        let mut counts = self
            .limiter
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn one_address_does_not_take_all_connections() {
        let limiter = Arc::new(ConnectionLimiter::new(1_000));
        let flood: Vec<_> = (0..200).filter_map(|_| limiter.admit(address(1))).collect();
        assert_eq!(flood.len(), STRANGERS_OF_ONE);
        let other = limiter.admit(address(2)).unwrap();
        other.authenticated();
        drop(flood);
        assert!(limiter.admit(address(1)).is_some());
        assert_eq!(limiter.counts.lock().unwrap().all, 1);
    }

    #[test]
    fn who_is_known_is_authenticated() {
        let limiter = Arc::new(ConnectionLimiter::new(100));
        let known: Vec<_> = (0..100)
            .map(|_| {
                let admitted = limiter.admit(address(1)).unwrap();
                admitted.authenticated();
                admitted
            })
            .collect();
        assert!(limiter.admit(address(2)).is_none(), "the limit is reached");
        drop(known);
        let counts = limiter.counts.lock().unwrap();
        assert_eq!(
            (counts.all, counts.strangers, counts.strangers_of.len()),
            (0, 0, 0)
        );
    }
}
