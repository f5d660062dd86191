//! Limits the connections of a port, and shares them fairly between client addresses.
//!
//! A new connection is always accepted. If the limit is reached, an older connection is closed: the connection that has
//! been idle longest among the connections of the address with the most connections. So a client that opens many
//! connections loses its own connections.
//!
//! Failure mode: a client with many addresses can close the connections of other clients. A client whose connection was
//! closed can connect again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::warn;

/// Minimum time between two log lines about closed connections. A client can cause thousands of closed connections per
/// second.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The connection limits of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Name of the port, for the log.
    pub(crate) port: &'static str,
    /// Maximum number of connections in total.
    pub(crate) all: usize,
    /// Maximum number of connections from one address.
    pub(crate) per_address: usize,
}

/// The open connections of one port. Each open connection has one [`ConnectionGuard`].
#[derive(Debug)]
pub(crate) struct OpenConnections {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: BTreeMap<u64, OpenConnection>,
    next: u64,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct OpenConnection {
    address: IpAddr,
    /// True while a request is being answered.
    busy: bool,
    /// Time of the last change of `busy`.
    since: Instant,
    close: Arc<Notify>,
}

impl OpenConnections {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
        })
    }

    /// Adds a connection from `address`. If the connection limit is reached, another connection is closed.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> ConnectionGuard {
        // On a dual-stack socket, the address of an IPv4 client is an IPv4-mapped IPv6 address, which is converted back
        // to IPv4.
        let address = address.to_canonical();
        let mut state = self.lock();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for taken in state.taken.values() {
            *counts.entry(taken.address).or_default() += 1;
        }
        let own_share_is_used = counts.get(&address) >= Some(&self.limits.per_address);
        if own_share_is_used || state.taken.len() >= self.limits.all {
            let candidates = state
                .taken
                .iter()
                .filter(|(_, taken)| !own_share_is_used || taken.address == address);
            let chosen = candidates.min_by_key(|(_, taken)| {
                (Reverse(counts[&taken.address]), taken.busy, taken.since)
            });
            if let Some(number) = chosen.map(|(&number, _)| number) {
                self.close(&mut state, number);
            }
        }
        let close = Arc::new(Notify::new());
        let number = state.next;
        state.next += 1;
        let taken = OpenConnection {
            address,
            busy: false,
            since: Instant::now(),
            close: Arc::clone(&close),
        };
        state.taken.insert(number, taken);
        ConnectionGuard {
            open_connections: Arc::clone(self),
            number,
            close,
        }
    }

    fn close(&self, state: &mut State, number: u64) {
        let Some(taken) = state.taken.remove(&number) else {
            return;
        };
        taken.close.notify_one();
        if state
            .logged
            .is_none_or(|logged| logged.elapsed() >= LOG_EVERY)
        {
            state.logged = Some(Instant::now());
            let Limits {
                port,
                all,
                per_address,
            } = self.limits;
            warn!(
                address = %taken.address,
                "the {port} port has reached its maximum of connections ({all} in total, {per_address} per address); \
                 the longest-idle connection of this address is closed; find the client that opens so many \
                 connections, and limit access to the port with a NetworkPolicy"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of the map is one insertion or one removal, so the map is consistent even after a panic of
        // another thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection, as part of the connection limit. The connection no longer counts when this value is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    open_connections: Arc<OpenConnections>,
    number: u64,
    close: Arc<Notify>,
}

impl ConnectionGuard {
    /// Resolves when this connection must be closed, because a new connection has reached the connection limit.
    pub(crate) async fn is_needed(&self) {
        self.close.notified().await;
    }

    /// Records whether a request is being answered.
    pub(crate) fn set_busy(&self, busy: bool) {
        if let Some(taken) = self.open_connections.lock().taken.get_mut(&self.number) {
            taken.busy = busy;
            taken.since = Instant::now();
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.open_connections.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin, task::Context, task::Waker};

    use super::*;

    const LIMITS: Limits = Limits {
        port: "test",
        all: 4,
        per_address: 3,
    };

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn is_needed(guard: &ConnectionGuard) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(guard.is_needed()).poll(&mut context).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_the_most_connections_loses_the_idlest() {
        let open_connections = OpenConnections::new(LIMITS);
        let mut many = Vec::new();
        for _ in 0..3 {
            many.push(open_connections.take(address(1)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let other = open_connections.take(address(2));
        // A request is being answered on the oldest connection, so the second oldest is idle for the longest time and
        // must be closed.
        many[0].set_busy(true);
        let third = open_connections.take(address(3));
        let closed: Vec<_> = many.iter().map(is_needed).collect();
        assert_eq!(closed, [false, true, false]);
        assert!(!is_needed(&other) && !is_needed(&third));
    }

    #[tokio::test]
    async fn an_address_beyond_its_share_closes_its_own() {
        let open_connections = OpenConnections::new(LIMITS);
        let many: Vec<_> = (0..3).map(|_| open_connections.take(address(1))).collect();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let _fourth = open_connections.take(mapped);
        assert_eq!(many.iter().filter(|guard| is_needed(guard)).count(), 1);
        assert_eq!(open_connections.lock().taken.len(), 3);
    }

    #[tokio::test]
    async fn a_connection_that_ends_leaves_its_seat() {
        let open_connections = OpenConnections::new(LIMITS);
        drop(open_connections.take(address(1)));
        assert!(open_connections.lock().taken.is_empty());
    }
}
