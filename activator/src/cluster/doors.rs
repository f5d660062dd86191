//! The doors of this activator: one for each port of a Service that a slice allots.
//!
//! Slices come in any order; after each the Service it is of is looked at as a whole. A door that is allotted no more
//! takes no new connections, and what runs through it goes on.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::report::BURST;
use super::slice::{Allotted, Ready, Says, Service, Slice};
use crate::{Limits, Pool, serve};

/// Between two tries to listen on a port that somebody else has.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

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
    /// A request waits somewhere, and there is no pod.
    pub(super) wanted: Arc<Notify>,
    closing: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    /// By namespace and name.
    slices: HashMap<(String, String), Slice>,
    doors: BTreeMap<Key, Door>,
    /// Doors that were closed, with requests in them still.
    leaving: Vec<JoinHandle<()>>,
    next_id: u64,
}

struct Door {
    pool: Pool,
    number: u16,
    in_path: bool,
    listening: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
    pods: BTreeMap<SocketAddr, u64>,
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
            wanted: Arc::default(),
            closing,
        }
    }

    /// A slice is there, or has changed; `None`: it is gone, or of no use any more.
    pub(super) fn slice(&self, namespace: &str, name: &str, slice: Option<Slice>) {
        let mut state = self.lock();
        let key = (namespace.to_owned(), name.to_owned());
        let after = slice.as_ref().map(|slice| slice.service.clone());
        let before = match slice {
            Some(slice) => state.slices.insert(key, slice),
            None => state.slices.remove(&key),
        };
        let before = before.map(|slice| slice.service);
        for service in [
            before.filter(|before| Some(before) != after.as_ref()),
            after,
        ]
        .into_iter()
        .flatten()
        {
            for service in state.concerned(&service) {
                self.look(&mut state, &service);
            }
        }
    }

    /// The doors that listen.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let state = self.lock();
        let listening = state
            .doors
            .iter()
            .filter(|(_, door)| *door.listening.borrow());
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
            leaving
                .into_iter()
                .chain(doors.into_values().map(|door| door.task))
                .collect()
        };
        for task in tasks {
            // One that broke down is closed too.
            let _closed = task.await;
        }
    }

    /// Has the doors of a Service be as its slices say.
    fn look(&self, state: &mut State, service: &Service) {
        let allotted = state.allotted(service);
        let pods_of = Service {
            namespace: service.namespace.clone(),
            name: allotted
                .pods_of
                .clone()
                .unwrap_or_else(|| service.name.clone()),
        };
        let ready = state.ready(&pods_of);
        let gone: Vec<_> = state
            .doors
            .iter()
            .filter(|(key, door)| {
                key.service == *service && allotted.ports.get(&key.port) != Some(&door.number)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(door) = state.doors.remove(&key) {
                info!(namespace = %key.service.namespace, service = %key.service.name, port = %key.port,
                    number = door.number, "door closed");
                door.close.send_replace(true);
                state.leaving.retain(|task| !task.is_finished());
                state.leaving.push(door.task);
            }
        }
        for (port, &number) in &allotted.ports {
            let key = Key {
                service: service.clone(),
                port: port.clone(),
            };
            let State { doors, next_id, .. } = state;
            let door = doors
                .entry(key.clone())
                .or_insert_with(|| self.open(&key, number, allotted.hard_limit));
            door.in_path = allotted.in_path.contains(&self.own);
            door.pool.set_hard_limit(allotted.hard_limit);
            door.follow(ready.get(port), next_id);
        }
    }

    fn open(&self, key: &Key, number: u16, hard_limit: u32) -> Door {
        let pool = Pool::new(Limits {
            hard_limit,
            memory: self.limits.memory.of(&key.service.namespace),
            ..self.limits.clone()
        });
        let (close, told) = watch::channel(false);
        let (listens, listening) = watch::channel(false);
        let address = SocketAddr::new(self.listen, number);
        let at_door = stand(address, pool.clone(), listens, told, self.closing.clone());
        let wanted = wake(pool.clone(), Arc::clone(&self.wanted));
        let key = key.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = at_door => {}
                () = wanted => {}
            }
            info!(namespace = %key.service.namespace, service = %key.service.name, port = %key.port, number, "door empty");
        });
        Door {
            pool,
            number,
            in_path: false,
            listening,
            close,
            task,
            pods: BTreeMap::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens as soon as the port can be had, and serves until it is told to close.
async fn stand(
    address: SocketAddr,
    pool: Pool,
    listens: watch::Sender<bool>,
    mut told: watch::Receiver<bool>,
    mut closing: watch::Receiver<bool>,
) {
    let mut close = std::pin::pin!(async move {
        tokio::select! {
            // Gone is as good as told.
            _ = told.wait_for(|told| *told) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    let mut said = false;
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "listening");
                listens.send_replace(true);
                match serve(listener, pool.clone(), close.as_mut()).await {
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
            () = close.as_mut() => return,
        }
    }
}

/// Passes on that somebody has come to wait, for ever; the next ones are in the reports of the burst that this begins.
async fn wake(pool: Pool, wanted: Arc<Notify>) {
    loop {
        pool.wanted().await;
        wanted.notify_one();
        tokio::time::sleep(BURST).await;
    }
}

impl State {
    /// A Service, and those whose pods are this one's.
    fn concerned(&self, service: &Service) -> Vec<Service> {
        let others = self.slices.values().filter_map(|slice| match &slice.says {
            Says::Allotted(allotted)
                if slice.service.namespace == service.namespace
                    && allotted.pods_of.as_ref() == Some(&service.name) =>
            {
                Some(slice.service.clone())
            }
            _ => None,
        });
        let mut all: Vec<_> = others.chain([service.clone()]).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What our slices of a Service say together: one for each kind of address.
    fn allotted(&self, service: &Service) -> Allotted {
        let mut all = Allotted::default();
        for slice in self
            .slices
            .values()
            .filter(|slice| slice.service == *service)
        {
            if let Says::Allotted(one) = &slice.says {
                all.ports.extend(one.ports.clone());
                all.in_path.extend(&one.in_path);
                all.hard_limit = all.hard_limit.max(one.hard_limit);
                all.pods_of = all.pods_of.or_else(|| one.pods_of.clone());
            }
        }
        all
    }

    /// Where the pods of a Service are ready, by name of the port.
    fn ready(&self, service: &Service) -> BTreeMap<String, Ready> {
        let mut all: BTreeMap<String, Ready> = BTreeMap::new();
        for slice in self
            .slices
            .values()
            .filter(|slice| slice.service == *service)
        {
            let Says::Ready(ports) = &slice.says else {
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Protocol;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn service(name: &str) -> Service {
        Service {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn allotted(of: &str, number: u16, in_path: &[IpAddr]) -> Slice {
        Slice {
            service: service(of),
            says: Says::Allotted(Allotted {
                ports: [("http".to_owned(), number)].into(),
                in_path: in_path.to_vec(),
                ..Allotted::default()
            }),
        }
    }

    fn ready(of: &str, addresses: &[&str]) -> Slice {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        let ready = Ready {
            protocol: Protocol::Detect,
            addresses: addresses.collect(),
        };
        Slice {
            service: service(of),
            says: Says::Ready([("http".to_owned(), ready)].into()),
        }
    }

    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    }

    /// The doors that listen, once there are as many.
    async fn until_seen(doors: &Doors, count: usize) -> Vec<Seen> {
        let seen = async {
            loop {
                let seen = doors.seen();
                if seen.len() == count {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        seen.expect("it happens")
    }

    #[tokio::test]
    async fn a_door_is_opened_followed_and_closed_as_slices_say() {
        let (end, closing) = watch::channel(false);
        let doors = Doors::new(Limits::default(), OWN, OWN, closing);
        let number = free_port();
        doors.slice(
            "shop",
            "web-x",
            Some(ready("web", &["127.0.0.1:1", "127.0.0.1:2"])),
        );
        assert!(
            doors.seen().is_empty(),
            "a Service that nothing was allotted for"
        );
        doors.slice("shop", "web-ebb", Some(allotted("web", number, &[])));
        let seen = until_seen(&doors, 1).await;
        assert_eq!((seen[0].number, seen[0].in_path), (number, false));
        let pods = |doors: &Doors| {
            let state = doors.lock();
            state
                .doors
                .values()
                .flat_map(|door| door.pods.keys().copied())
                .collect::<Vec<_>>()
        };
        assert_eq!(pods(&doors).len(), 2);
        doors.slice("shop", "web-ebb", Some(allotted("web", number, &[OWN])));
        assert!(doors.seen()[0].in_path);
        doors.slice("shop", "web-x", Some(ready("web", &["127.0.0.1:2"])));
        assert_eq!(pods(&doors), ["127.0.0.1:2".parse().expect("an address")]);
        doors.slice("shop", "web-x", None);
        assert!(pods(&doors).is_empty());
        doors.slice("shop", "web-ebb", None);
        until_seen(&doors, 0).await;
        end.send_replace(true);
        doors.closed().await;
        std::net::TcpListener::bind(("127.0.0.1", number)).expect("the port is free again");
    }

    #[tokio::test]
    async fn pods_may_be_those_of_another_service() {
        let (_end, closing) = watch::channel(false);
        let doors = Doors::new(Limits::default(), OWN, OWN, closing);
        let mut slice = allotted("web", free_port(), &[OWN]);
        if let Says::Allotted(allotted) = &mut slice.says {
            allotted.pods_of = Some("web-pods".to_owned());
            allotted.hard_limit = 1;
        }
        doors.slice("shop", "web-ebb", Some(slice));
        doors.slice("shop", "p", Some(ready("web-pods", &["127.0.0.1:1"])));
        let state = doors.lock();
        assert_eq!(
            state
                .doors
                .values()
                .map(|door| door.pods.len())
                .sum::<usize>(),
            1
        );
    }
}
