//! A model of kube-proxy: it chooses the address that a new connection to a Service reaches.
//!
//! The ready endpoints of all slices of a Service are combined, each with the port of its slice, and one is picked at
//! random. Without endpoints the connection is refused. As with the real kube-proxy, changes take effect a moment late.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::api::Api;
use super::follow::{Following, follow};

/// Delay until a change takes effect, as on a real node. Shorter than the time from a pod's SIGTERM to its end.
const LATE: Duration = Duration::from_millis(100);

/// One node's kube-proxy, for all Services.
pub struct Proxy {
    shared: Arc<Shared>,
    _following: Following,
}

/// Namespace and name of a Service.
type Service = (String, String);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    random: AtomicU64,
}

#[derive(Default)]
struct State {
    slices: HashMap<(String, String), Slice>,
}

/// The history of an EndpointSlice.
struct Slice {
    service: Service,
    ours: bool,
    /// Endpoints, each with the time from which it is valid; the newest last.
    endpoints: Vec<(Instant, Vec<SocketAddr>)>,
}

/// The endpoints of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Addresses of pods.
    pub pods: Vec<SocketAddr>,
    /// Addresses of activators.
    pub activators: Vec<SocketAddr>,
}

impl Endpoints {
    fn all(&self) -> Vec<SocketAddr> {
        self.pods.iter().chain(&self.activators).copied().collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoints(&self, service: &Service, at: Instant) -> Endpoints {
        let mut found = Endpoints::default();
        for slice in self.state().slices.values() {
            if slice.service != *service {
                continue;
            }
            let known = slice.endpoints.iter().rev().find(|(since, _)| *since <= at);
            let known = known.map(|(_, endpoints)| endpoints.clone());
            match slice.ours {
                true => found.activators.extend(known.unwrap_or_default()),
                false => found.pods.extend(known.unwrap_or_default()),
            }
        }
        found
    }

    /// An irregular number, the same in every run: xorshift of a counter.
    fn random(&self) -> u64 {
        let mut number = self.random.fetch_add(1, Ordering::Relaxed) + 88_172_645_463_325_252;
        for _ in 0..3 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
        }
        number
    }
}

impl Proxy {
    /// Follows the slices of a cluster.
    #[must_use]
    pub fn start(api: &Api) -> Self {
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        let following = follow(api, move |change| kept.state().changed(change));
        Self {
            shared,
            _following: following,
        }
    }

    /// The address that a new connection to a Service reaches; `None`: the connection is refused.
    pub fn pick(
        &self,
        namespace: &str,
        service: &str,
    ) -> impl Fn() -> Option<SocketAddr> + Send + Sync + Clone + 'static {
        let shared = Arc::clone(&self.shared);
        let service = (namespace.to_owned(), service.to_owned());
        move || {
            let mut all = shared.endpoints(&service, Instant::now()).all();
            all.sort();
            let turn = shared.random() as usize;
            (!all.is_empty()).then(|| all[turn % all.len()])
        }
    }

    /// The endpoints of a Service that this proxy uses now.
    #[must_use]
    pub fn endpoints(&self, namespace: &str, service: &str) -> Endpoints {
        let service = (namespace.to_owned(), service.to_owned());
        self.shared.endpoints(&service, Instant::now())
    }

    /// The newest endpoints of a Service in the API server.
    #[must_use]
    pub fn newest(&self, namespace: &str, service: &str) -> Endpoints {
        let service = (namespace.to_owned(), service.to_owned());
        self.shared.endpoints(&service, Instant::now() + LATE)
    }

    /// Since when a Service has had pods, by the API server; `None`: it has none.
    #[must_use]
    pub fn pods_since(&self, namespace: &str, service: &str) -> Option<Instant> {
        let service = (namespace.to_owned(), service.to_owned());
        let state = self.shared.state();
        let mut slices = state.slices.values();
        let pods = slices.find(|slice| slice.service == service && !slice.ours)?;
        let since = pods.endpoints.iter().rev();
        let since = since.take_while(|(_, endpoints)| !endpoints.is_empty());
        since.last().map(|(since, _)| *since - LATE)
    }
}

impl State {
    fn changed(&mut self, change: Event<EndpointSlice>) {
        match change {
            Event::Apply(slice) | Event::InitApply(slice) => self.seen(&slice),
            Event::Delete(slice) => {
                let id = (slice.namespace().unwrap_or_default(), slice.name_any());
                self.slices.remove(&id);
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn seen(&mut self, slice: &EndpointSlice) {
        let labels: &BTreeMap<String, String> = slice.labels();
        let Some(service) = labels.get("kubernetes.io/service-name") else {
            return;
        };
        let namespace = slice.namespace().unwrap_or_default();
        let manager = labels.get("endpointslice.kubernetes.io/managed-by");
        let id = (namespace.clone(), slice.name_any());
        let known = self.slices.entry(id).or_insert_with(|| Slice {
            service: (namespace, service.clone()),
            ours: manager.is_some_and(|manager| manager == "ebb.dev"),
            endpoints: Vec::new(),
        });
        let endpoints = endpoints(slice);
        if known
            .endpoints
            .last()
            .is_none_or(|(_, last)| *last != endpoints)
        {
            known.endpoints.push((Instant::now() + LATE, endpoints));
        }
        // Old entries are dropped.
        let past = known.endpoints.len().saturating_sub(8);
        known.endpoints.drain(..past);
    }
}

fn endpoints(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port = slice
        .ports
        .iter()
        .flatten()
        .find_map(|port| u16::try_from(port.port?).ok());
    let ready = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_none_or(|conditions| conditions.ready != Some(false))
    });
    let addresses = ready.flat_map(|endpoint| &endpoint.addresses);
    let mut found: Vec<_> = addresses
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, port?)))
        .collect();
    found.sort();
    found
}
