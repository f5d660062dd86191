//! The listeners of this activator: one for each proxied Service port in the record of ports.
//!
//! Records of ports and EndpointSlices arrive in any order. After each of them, all ports of the Service are evaluated.
//! If a port is removed from the record or gets another number, the old listener still accepts connections for
//! [`LINGERS`], because the nodes learn of the change late. Until the queue of a removed port is empty, its pool
//! follows the Service's pods and remains in the reports, so that the queued requests are served.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebb_contract::{allotments::Allotment, burst};
use ebb_proxy::{Limits, Pool, serve_until};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::slice::{ReadyAddresses, Service, Slice, SliceContent};

/// Pause between attempts to listen on a port number that another program uses.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a listener accepts new connections after its port was removed from the record of ports. The kube-proxy of
/// every node learns of a changed EndpointSlice within seconds. Meanwhile no other Service has the port number, because
/// the autoscaler does not reuse a removed number for a minute.
const LINGERS: Duration = Duration::from_secs(10);

/// The Service port that a listener receives requests for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) service: Service,
    /// Name of the Service's port.
    pub(crate) port: String,
}

/// A snapshot of a proxied Service port, for reports and metrics.
pub(crate) struct PortSnapshot {
    pub(crate) key: Key,
    pub(crate) number: u16,
    pub(crate) in_path: bool,
    pub(crate) pool: Pool,
}

/// All listeners. Clones share the same listeners.
#[derive(Clone)]
pub(crate) struct Listeners {
    state: Arc<Mutex<State>>,
    limits: Limits,
    listen: IpAddr,
    own: IpAddr,
    lingers: Duration,
    /// Notified when a request is queued and its pool has no pod.
    pub(crate) wake_ups: Arc<Notify>,
    closing: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    /// The content of the EndpointSlices, by Service and slice name.
    slices: HashMap<Service, BTreeMap<String, SliceContent>>,
    /// The Service of each slice, by the slice's namespace and name.
    of_slice: HashMap<(String, String), Service>,
    records: BTreeMap<Service, Allotment>,
    ports: BTreeMap<Key, ProxiedPort>,
    /// Tasks of the listeners at old port numbers. Each task ends after the last request of its listener.
    leaving: Vec<JoinHandle<()>>,
    next_id: u64,
}

struct ProxiedPort {
    pool: Pool,
    number: u16,
    in_path: bool,
    /// True if the port was removed from the record. This entry remains until the port's queue is empty.
    closed: bool,
    /// True if this is the only port in the Service's record. When the port is removed from the record, the last value
    /// is kept.
    alone: bool,
    listening: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// The task that forwards the pool's wake-ups to [`Listeners::wake_ups`]. It is aborted when this entry is removed.
    wake: JoinHandle<()>,
    pods: BTreeMap<SocketAddr, u64>,
}

/// The listener at one port number.
struct Listener {
    listening: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listeners {
    /// Creates an empty set of listeners. They listen on the address `listen`, and close when `closing` becomes true.
    /// `own` is the address of this activator in EndpointSlices.
    pub(crate) fn new(
        limits: Limits,
        listen: IpAddr,
        own: IpAddr,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Listeners {
            state: Arc::default(),
            limits,
            listen,
            own,
            lingers: LINGERS,
            wake_ups: Arc::default(),
            closing,
        }
    }

    /// Stores a new or changed EndpointSlice, and updates the listeners. `None` means that the slice is deleted or
    /// cannot be used.
    pub(crate) fn slice(&self, namespace: &str, name: &str, slice: Option<Slice>) {
        let mut state = self.lock();
        let key = (namespace.to_owned(), name.to_owned());
        let before = state.of_slice.remove(&key);
        if let Some(service) = &before
            && let Some(slices) = state.slices.get_mut(service)
        {
            slices.remove(name);
            if slices.is_empty() {
                state.slices.remove(service);
            }
        }
        let after = slice.map(|Slice { service, content }| {
            let slices = state.slices.entry(service.clone()).or_default();
            slices.insert(name.to_owned(), content);
            state.of_slice.insert(key, service.clone());
            service
        });
        let concerned: HashSet<_> = before.into_iter().chain(after).collect();
        for service in concerned {
            for service in state.concerned(&service) {
                self.update(&mut state, &service);
            }
        }
    }

    /// Stores the record of ports of a namespace, by Service, and updates the listeners. An empty map means that the
    /// namespace has no record.
    pub(crate) fn record(&self, namespace: &str, record: BTreeMap<String, Allotment>) {
        let mut state = self.lock();
        let mut changed: Vec<_> = state
            .recorded(namespace)
            .filter(|(service, _)| !record.contains_key(&service.name))
            .map(|(service, _)| service.clone())
            .collect();
        for service in &changed {
            state.records.remove(service);
        }
        for (name, allotment) in record {
            let service = Service {
                namespace: namespace.to_owned(),
                name,
            };
            if state.records.get(&service) != Some(&allotment) {
                state.records.insert(service.clone(), allotment);
                changed.push(service);
            }
        }
        for service in changed {
            self.update(&mut state, &service);
        }
    }

    /// Returns whether EndpointSlices route requests to activators although no activator port is recorded. This is so
    /// if the autoscaler has not written its records yet, or if it has a version that writes none.
    pub(crate) fn lacks_record(&self) -> bool {
        let state = self.lock();
        let leads = |content: &SliceContent| match content {
            SliceContent::InPath(in_path) => !in_path.addresses.is_empty(),
            SliceContent::Ready(_) => false,
        };
        state.records.is_empty() && state.slices.values().flat_map(BTreeMap::values).any(leads)
    }

    /// Returns the Service ports with an open listener, and the closed ports that still have queued requests.
    pub(crate) fn snapshot(&self) -> Vec<PortSnapshot> {
        let mut state = self.lock();
        state.sweep();
        let listening = state
            .ports
            .iter()
            .filter(|(_, proxied)| match proxied.closed {
                true => proxied.pool.queued().now > 0,
                false => *proxied.listening.borrow(),
            });
        listening
            .map(|(key, proxied)| PortSnapshot {
                key: key.clone(),
                number: proxied.number,
                in_path: proxied.in_path,
                pool: proxied.pool.clone(),
            })
            .collect()
    }

    /// Resolves when all listeners have closed and their requests have ended.
    pub(crate) async fn closed(&self) {
        let tasks: Vec<_> = {
            let mut state = self.lock();
            let leaving = std::mem::take(&mut state.leaving);
            let ports = std::mem::take(&mut state.ports);
            let ports = ports.into_values().map(|proxied| {
                proxied.wake.abort();
                proxied.task
            });
            leaving.into_iter().chain(ports).collect()
        };
        for task in tasks {
            // An error means that the task of the listener panicked. The listener is closed in this case, too.
            let _closed = task.await;
        }
    }

    /// Updates the listeners of a Service from its record and its EndpointSlices.
    fn update(&self, state: &mut State, service: &Service) {
        let record = state.records.get(service).cloned().unwrap_or_default();
        let in_path = state.leads_to(service, &record, self.own);
        let pods_of = Service {
            namespace: service.namespace.clone(),
            name: record.pods_of.unwrap_or_else(|| service.name.clone()),
        };
        let ready = state.ready(&pods_of);
        let State {
            ports,
            leaving,
            next_id,
            ..
        } = state;
        for (port, &number) in &record.ports {
            let key = Key {
                service: service.clone(),
                port: port.clone(),
            };
            match ports.get_mut(&key) {
                None => {
                    let proxied = self.open(&key, number, record.hard_limit);
                    ports.insert(key, proxied);
                }
                Some(proxied) if proxied.closed || proxied.number != number => {
                    // The new listener uses the pool of the old listener, so that the queued requests remain in the
                    // pool.
                    proxied.close.send_replace(true);
                    let listener = self.listen(&key, number, &proxied.pool);
                    let before = std::mem::replace(&mut proxied.task, listener.task);
                    leaving.push(before);
                    proxied.close = listener.close;
                    proxied.listening = listener.listening;
                    (proxied.number, proxied.closed) = (number, false);
                }
                Some(_) => {}
            }
        }
        let first = Key {
            service: service.clone(),
            port: String::new(),
        };
        let its = ports.range_mut(first..);
        for (key, proxied) in its.take_while(|(key, _)| key.service == *service) {
            if !record.ports.contains_key(&key.port) && !proxied.closed {
                info!(namespace = %key.service.namespace, service = %key.service.name, port = %key.port,
                    number = proxied.number, "proxied Service port closed");
                proxied.close.send_replace(true);
                proxied.closed = true;
            }
            proxied.in_path = in_path && !proxied.closed;
            if !proxied.closed {
                proxied.alone = record.ports.len() == 1;
                proxied.pool.set_hard_limit(record.hard_limit);
            }
            let at_port = ready.get(&key.port);
            // If the Service had one port before and its pods have one port now, the port was probably renamed. The
            // requests that are queued under the old name are then sent to the pods of the new name.
            let renamed = (proxied.closed && proxied.alone && ready.len() == 1)
                .then(|| ready.values().next())
                .flatten();
            proxied.update_pods(at_port.or(renamed), next_id);
        }
    }

    fn open(&self, key: &Key, number: u16, hard_limit: u32) -> ProxiedPort {
        let pool = Pool::new(Limits {
            hard_limit,
            memory: self.limits.memory.of(&key.service.namespace),
            ..self.limits.clone()
        });
        let wake = tokio::spawn(wake(pool.clone(), Arc::clone(&self.wake_ups)));
        let listener = self.listen(key, number, &pool);
        ProxiedPort {
            pool,
            number,
            in_path: false,
            closed: false,
            alone: false,
            listening: listener.listening,
            close: listener.close,
            task: listener.task,
            wake,
            pods: BTreeMap::new(),
        }
    }

    fn listen(&self, key: &Key, number: u16, pool: &Pool) -> Listener {
        let (close, closes) = watch::channel(false);
        let (listens, listening) = watch::channel(false);
        let address = SocketAddr::new(self.listen, number);
        let conditions = CloseConditions {
            close: closes,
            lingers: self.lingers,
            closing: self.closing.clone(),
        };
        let listening_task = listen_and_serve(address, pool.clone(), listens, conditions);
        let key = key.clone();
        let task = tokio::spawn(async move {
            listening_task.await;
            info!(namespace = %key.service.namespace, service = %key.service.name, port = %key.port, number, "proxied Service port has no queued request left");
        });
        Listener {
            listening,
            close,
            task,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on `address` as soon as the port number is free. When `conditions.close` becomes true, the listener accepts
/// connections for the time `conditions.lingers`, and then serves the queued requests until the queue is empty. When
/// `conditions.closing` becomes true, it accepts no more connections.
async fn listen_and_serve(
    address: SocketAddr,
    pool: Pool,
    listens: watch::Sender<bool>,
    conditions: CloseConditions,
) {
    let mut shutdown = std::pin::pin!(is_so(conditions.closing.clone()));
    let mut said = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "listening");
                listens.send_replace(true);
                let closed = async {
                    is_so(conditions.close.clone()).await;
                    tokio::time::sleep(conditions.lingers).await;
                };
                match serve_until(listener, pool.clone(), closed, shutdown.as_mut()).await {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        listens.send_replace(false);
        if !std::mem::replace(&mut said, true) {
            warn!(%address, error, "cannot listen; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = is_so(conditions.close.clone()) => return,
            () = shutdown.as_mut() => return,
        }
    }
}

/// The conditions under which a listener closes.
struct CloseConditions {
    /// True when the port was removed from the record or got another number.
    close: watch::Receiver<bool>,
    /// How long the listener accepts connections after `close`.
    lingers: Duration,
    /// True when the activator stops, and so all listeners close.
    closing: watch::Receiver<bool>,
}

/// Resolves when the channel's value is true, or when its sender is dropped.
async fn is_so(mut state: watch::Receiver<bool>) {
    let _gone = state.wait_for(|is_so| *is_so).await;
}

/// Notifies `wake_ups` each time requests are queued in a pool that has no pod, forever. A notification starts a burst
/// of reports. After it, this function pauses until the burst ends, because the reports of the burst include all
/// requests that are queued during the pause.
async fn wake(pool: Pool, wake_ups: Arc<Notify>) {
    loop {
        pool.wake_up().await;
        wake_ups.notify_one();
        tokio::time::sleep(burst::LASTS).await;
    }
}

impl State {
    /// Removes the entries of closed listeners whose tasks have ended, because no request is left.
    fn sweep(&mut self) {
        self.leaving.retain(|task| !task.is_finished());
        self.ports.retain(|_, proxied| {
            let stays = !proxied.closed || !proxied.task.is_finished();
            if !stays {
                proxied.wake.abort();
            }
            stays
        });
    }

    /// Returns the Services of a namespace that have recorded ports, each with its ports.
    fn recorded(&self, namespace: &str) -> impl Iterator<Item = (&Service, &Allotment)> {
        let first = Service {
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let from = self.records.range(first..);
        from.take_while(move |(service, _)| service.namespace == namespace)
    }

    /// Returns the Services to update after a change of `service`: `service` itself, and the Services that use its
    /// pods.
    fn concerned(&self, service: &Service) -> Vec<Service> {
        let others = self.recorded(&service.namespace);
        let others = others
            .filter(|(_, allotment)| allotment.pods_of.as_ref() == Some(&service.name))
            .map(|(other, _)| other.clone());
        let mut all: Vec<_> = others.chain([service.clone()]).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Returns whether the slice that Ebb writes for a Service routes requests to the address `own`.
    fn leads_to(&self, service: &Service, record: &Allotment, own: IpAddr) -> bool {
        let slices = self.slices.get(service).into_iter().flatten();
        slices.into_iter().any(|(_, content)| match content {
            SliceContent::InPath(in_path) => {
                in_path.service_uid == record.service_uid && in_path.addresses.contains(&own)
            }
            SliceContent::Ready(_) => false,
        })
    }

    /// Returns the ready addresses of a Service, by port name.
    fn ready(&self, service: &Service) -> BTreeMap<String, ReadyAddresses> {
        let mut all: BTreeMap<String, ReadyAddresses> = BTreeMap::new();
        for content in self
            .slices
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
        {
            let SliceContent::Ready(ports) = content else {
                continue;
            };
            for (name, ready) in ports {
                all.entry(name.clone())
                    .and_modify(|known| known.addresses.extend(&ready.addresses))
                    .or_insert_with(|| ready.clone());
            }
        }
        all
    }
}

impl ProxiedPort {
    /// Updates the pool, so that it has exactly the ready pods.
    fn update_pods(&mut self, ready: Option<&ReadyAddresses>, next_id: &mut u64) {
        let addresses = ready.map_or(&[][..], |ready| &ready.addresses);
        let pool = &self.pool;
        self.pods.retain(|address, id| {
            let stays = addresses.contains(address);
            if !stays {
                pool.remove(*id);
            }
            stays
        });
        if let Some(ready) = ready {
            pool.set_protocol(ready.protocol);
        }
        for &address in addresses {
            self.pods.entry(address).or_insert_with(|| {
                *next_id += 1;
                pool.add(*next_id, address);
                *next_id
            });
        }
    }
}

#[cfg(test)]
mod tests;
