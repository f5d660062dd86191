//! A model of kube-proxy: it chooses the address that a new connection to a Service reaches.
//!
//! The model combines the ready endpoints of all EndpointSlices of a Service, each with the port of its slice, and
//! picks one at random. Without endpoints, the connection is refused. As with a real kube-proxy, a change takes effect
//! after a delay.

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

/// Delay until a change of an EndpointSlice takes effect, as on a real node. The delay is shorter than the time from a
/// pod's removal from the endpoints to its SIGTERM (300 ms).
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
    /// Versions of the slice's endpoints, each with the time from which it takes effect; newest last.
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

    /// Returns a pseudo-random number: xorshift of a counter. The sequence is the same in every run.
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
    /// Starts to watch all EndpointSlices of a cluster.
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

    /// Returns a function that picks the address for a new connection to a Service; `None`: the connection is refused.
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

    /// Returns the endpoints that this proxy currently uses for a Service.
    #[must_use]
    pub fn endpoints(&self, namespace: &str, service: &str) -> Endpoints {
        let service = (namespace.to_owned(), service.to_owned());
        self.shared.endpoints(&service, Instant::now())
    }

    /// Returns the newest endpoints of a Service in the API server, without the proxy's delay.
    #[must_use]
    pub fn newest(&self, namespace: &str, service: &str) -> Endpoints {
        let service = (namespace.to_owned(), service.to_owned());
        self.shared.endpoints(&service, Instant::now() + LATE)
    }

    /// Returns the time since which a Service has had pods without interruption, according to the API server; `None` if
    /// the Service has no pods now.
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
        // Only the newest 8 versions of a slice's endpoints are kept.
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
