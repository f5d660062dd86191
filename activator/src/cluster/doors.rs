//! The doors of this activator: one for each port of a Service that the record allots.
//!
//! Records and slices come in any order; after each the Service it is of is looked at as a whole. A door that is allotted
//! no more, or has another number now, takes new connections for a moment longer, because nodes come to know late. Its
//! pool follows the Service's pods, and stays in the reports, until its queue is empty. So queued requests are served.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebb_contract::{allotments::Allotment, burst};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::slice::{Ready, Says, Service, Slice};
use crate::{Limits, Pool, serve_until};

/// Between two tries to listen on a port that somebody else has.
const AGAIN: Duration = Duration::from_secs(1);

/// A door that is allotted no more takes new connections for so long. Every node's kube-proxy hears of a slice within
/// seconds, and the autoscaler gives the number to nobody else for a minute.
const LINGERS: Duration = Duration::from_secs(10);

/// Whose requests come in at a door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) service: Service,
    /// Name of the Service's port.
    pub(super) port: String,
}

/// A door, as others see it.
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) number: u16,
    pub(super) in_path: bool,
    pub(super) pool: Pool,
}

/// All doors. A clone is another handle.
#[derive(Clone)]
pub(super) struct Doors {
    state: Arc<Mutex<State>>,
    limits: Limits,
    listen: IpAddr,
    own: IpAddr,
    lingers: Duration,
    /// A request waits somewhere, and there is no pod.
    pub(super) wanted: Arc<Notify>,
    closing: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    /// What slices say, by Service and by name.
    slices: HashMap<Service, BTreeMap<String, Says>>,
    /// Which Service a slice is of, by namespace and name.
    of_slice: HashMap<(String, String), Service>,
    records: BTreeMap<Service, Allotment>,
    doors: BTreeMap<Key, Door>,
    /// What listens or listened at earlier numbers, with requests in it still.
    leaving: Vec<JoinHandle<()>>,
    next_id: u64,
}

struct Door {
    pool: Pool,
    number: u16,
    in_path: bool,
    /// Allotted no more; it is there until nobody waits in it.
    closed: bool,
    /// It is, or was last, the only door of its Service.
    alone: bool,
    listening: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Tells of those that come to wait; ends with the door.
    wake: JoinHandle<()>,
    pods: BTreeMap<SocketAddr, u64>,
}

/// What listens at one number.
struct Listener {
    listening: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Doors {
    /// None yet. They listen at `listen`, are reached at `own`, and close when `closing` says so.
    pub(super) fn new(
        limits: Limits,
        listen: IpAddr,
        own: IpAddr,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Doors {
            state: Arc::default(),
            limits,
            listen,
            own,
            lingers: LINGERS,
            wanted: Arc::default(),
            closing,
        }
    }

    /// A slice is there, or has changed; `None`: it is gone, or of no use any more.
    pub(super) fn slice(&self, namespace: &str, name: &str, slice: Option<Slice>) {
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
        let after = slice.map(|Slice { service, says }| {
            let slices = state.slices.entry(service.clone()).or_default();
            slices.insert(name.to_owned(), says);
            state.of_slice.insert(key, service.clone());
            service
        });
        let concerned: HashSet<_> = before.into_iter().chain(after).collect();
        for service in concerned {
            for service in state.concerned(&service) {
                self.look(&mut state, &service);
            }
        }
    }

    /// The record of a namespace's ports, by Service. An empty map means that the namespace has no record.
    pub(super) fn record(&self, namespace: &str, record: BTreeMap<String, Allotment>) {
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
            self.look(&mut state, &service);
        }
    }

    /// Whether slices lead to activators although nothing is recorded at all: the autoscaler is of a release that keeps no
    /// record, or has not written it yet.
    pub(super) fn lacks_record(&self) -> bool {
        let state = self.lock();
        let leads = |says: &Says| match says {
            Says::InPath(in_path) => !in_path.addresses.is_empty(),
            Says::Ready(_) => false,
        };
        state.records.is_empty() && state.slices.values().flat_map(BTreeMap::values).any(leads)
    }

    /// The doors that listen, and those that are closed in which somebody still waits.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut state = self.lock();
        state.sweep();
        let listening = state.doors.iter().filter(|(_, door)| match door.closed {
            true => door.pool.held().now > 0,
            false => *door.listening.borrow(),
        });
        listening
            .map(|(key, door)| Seen {
                key: key.clone(),
                number: door.number,
                in_path: door.in_path,
                pool: door.pool.clone(),
            })
            .collect()
    }

    /// Resolves when all doors have closed and what ran through them has ended.
    pub(super) async fn closed(&self) {
        let tasks: Vec<_> = {
            let mut state = self.lock();
            let leaving = std::mem::take(&mut state.leaving);
            let doors = std::mem::take(&mut state.doors);
            let doors = doors.into_values().map(|door| {
                door.wake.abort();
                door.task
            });
            leaving.into_iter().chain(doors).collect()
        };
        for task in tasks {
            // One that broke down is closed too.
            let _closed = task.await;
        }
    }

    /// Has the doors of a Service be as its record and its slices say.
    fn look(&self, state: &mut State, service: &Service) {
        let record = state.records.get(service).cloned().unwrap_or_default();
        let in_path = state.leads_to(service, &record, self.own);
        let pods_of = Service {
            namespace: service.namespace.clone(),
            name: record.pods_of.unwrap_or_else(|| service.name.clone()),
        };
        let ready = state.ready(&pods_of);
        let State {
            doors,
            leaving,
            next_id,
            ..
        } = state;
        for (port, &number) in &record.ports {
            let key = Key {
                service: service.clone(),
                port: port.clone(),
            };
            match doors.get_mut(&key) {
                None => {
                    let door = self.open(&key, number, record.hard_limit);
                    doors.insert(key, door);
                }
                Some(door) if door.closed || door.number != number => {
                    // Who waits is in the pool, wherever the next ones come in.
                    door.close.send_replace(true);
                    let listener = self.listen(&key, number, &door.pool);
                    let before = std::mem::replace(&mut door.task, listener.task);
                    leaving.push(before);
                    door.close = listener.close;
                    door.listening = listener.listening;
                    (door.number, door.closed) = (number, false);
                }
                Some(_) => {}
            }
        }
        let first = Key {
            service: service.clone(),
            port: String::new(),
        };
        let its = doors.range_mut(first..);
        for (key, door) in its.take_while(|(key, _)| key.service == *service) {
            if !record.ports.contains_key(&key.port) && !door.closed {
                info!(namespace = %key.service.namespace, service = %key.service.name, port = %key.port,
                    number = door.number, "proxied Service port closed");
                door.close.send_replace(true);
                door.closed = true;
            }
            door.in_path = in_path && !door.closed;
            if !door.closed {
                door.alone = record.ports.len() == 1;
                door.pool.set_hard_limit(record.hard_limit);
            }
            let at_port = ready.get(&key.port);
            // The one port of a Service may have another name now.
            let renamed = (door.closed && door.alone && ready.len() == 1)
                .then(|| ready.values().next())
                .flatten();
            door.follow(at_port.or(renamed), next_id);
        }
    }

    fn open(&self, key: &Key, number: u16, hard_limit: u32) -> Door {
        let pool = Pool::new(Limits {
            hard_limit,
            memory: self.limits.memory.of(&key.service.namespace),
            ..self.limits.clone()
        });
        let wake = tokio::spawn(wake(pool.clone(), Arc::clone(&self.wanted)));
        let listener = self.listen(key, number, &pool);
        Door {
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
        let (close, told) = watch::channel(false);
        let (listens, listening) = watch::channel(false);
        let address = SocketAddr::new(self.listen, number);
        let told = Told {
            close: told,
            lingers: self.lingers,
            closing: self.closing.clone(),
        };
        let at_door = stand(address, pool.clone(), listens, told);
        let key = key.clone();
        let task = tokio::spawn(async move {
            at_door.await;
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

/// Listens as soon as the port is free. After the order to close, it accepts connections for a moment longer, and then serves
/// until its queue is empty. When all doors close, it ends at once.
async fn stand(address: SocketAddr, pool: Pool, listens: watch::Sender<bool>, told: Told) {
    let mut shutdown = std::pin::pin!(is_so(told.closing.clone()));
    let mut said = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "listening");
                listens.send_replace(true);
                let closed = async {
                    is_so(told.close.clone()).await;
                    tokio::time::sleep(told.lingers).await;
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
            () = is_so(told.close.clone()) => return,
            () = shutdown.as_mut() => return,
        }
    }
}

/// What tells a listener to end.
struct Told {
    /// It is allotted no more.
    close: watch::Receiver<bool>,
    /// How long it goes on then.
    lingers: Duration,
    /// All doors close.
    closing: watch::Receiver<bool>,
}

/// Resolves when it is so; whoever would tell being gone is as good.
async fn is_so(mut told: watch::Receiver<bool>) {
    let _gone = told.wait_for(|told| *told).await;
}

/// Passes on that somebody has come to wait, for ever; the next ones are in the reports of the burst that this begins.
async fn wake(pool: Pool, wanted: Arc<Notify>) {
    loop {
        pool.wanted().await;
        wanted.notify_one();
        tokio::time::sleep(burst::LASTS).await;
    }
}

impl State {
    /// Forgets doors that are closed and empty.
    fn sweep(&mut self) {
        self.leaving.retain(|task| !task.is_finished());
        self.doors.retain(|_, door| {
            let stays = !door.closed || !door.task.is_finished();
            if !stays {
                door.wake.abort();
            }
            stays
        });
    }

    /// What is recorded of a namespace.
    fn recorded(&self, namespace: &str) -> impl Iterator<Item = (&Service, &Allotment)> {
        let first = Service {
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let from = self.records.range(first..);
        from.take_while(move |(service, _)| service.namespace == namespace)
    }

    /// A Service, and those whose pods are this one's.
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

    /// Whether the slice that Ebb writes for a Service leads to this address.
    fn leads_to(&self, service: &Service, record: &Allotment, own: IpAddr) -> bool {
        let slices = self.slices.get(service).into_iter().flatten();
        slices.into_iter().any(|(_, says)| match says {
            Says::InPath(in_path) => {
                in_path.service_uid == record.service_uid && in_path.addresses.contains(&own)
            }
            Says::Ready(_) => false,
        })
    }

    /// Where the pods of a Service are ready, by name of the port.
    fn ready(&self, service: &Service) -> BTreeMap<String, Ready> {
        let mut all: BTreeMap<String, Ready> = BTreeMap::new();
        for says in self
            .slices
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
        {
            let Says::Ready(ports) = says else {
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

impl Door {
    /// Has the pool know the pods that are ready, and no others.
    fn follow(&mut self, ready: Option<&Ready>, next_id: &mut u64) {
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
