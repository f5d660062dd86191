//! Which EndpointSlice a Service has besides its own: the one that leads to the activators. Pure; the states a slice goes
//! through are in `docs/activator.md`.
//!
//! The slice is the only record: ports are allotted by being written there, so a leader that takes over reads them back.
//!
//! Bias: towards stability. A port that is allotted stays; an activator that is in the path stays as long as it is heard
//! of and listens. Failure mode: with no activator that listens nothing is led anywhere, and [`in_place`] says so, so
//! that the last pod stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
    net::IpAddr,
    ops::RangeInclusive,
};

use ebb_autoscaler_core::Timestamp;

use crate::engine::{TargetKey, series::SILENT_AFTER};

/// Ports on the activators, below those that kernels give out by themselves (`net.ipv4.ip_local_port_range`).
pub(super) const PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// A Service in front of a workload, and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The workload whose pods it leads to.
    pub workload: TargetKey,
    /// Name of the Service; its namespace is the workload's.
    pub service: String,
    /// Uid of the Service: the slice goes with it.
    pub service_uid: String,
    /// Its TCP ports: name and `appProtocol`.
    pub ports: BTreeMap<String, Option<String>>,
    /// Whether the activators are to be in the path (`Step::proxy`).
    pub proxy: bool,
    /// How many of them (`Step::activators`).
    pub activators: u32,
    /// Whether its slice is one of IPv6 addresses. A slice's kind cannot be changed, so the Service says it.
    pub six: bool,
    /// Most requests on a pod at a time; 0 for no limit. With one, a single activator gives out all tokens.
    pub hard_limit: u32,
    /// The Service whose slices say where the pods are, where it is another one: a Service that leads to a workload with a
    /// hard limit selects no pods itself, so that nobody goes past the activator.
    pub pods_of: Option<String>,
}

/// What is written in a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Port on the activators by name of the Service's port.
    pub ports: BTreeMap<String, u16>,
    /// What the ports speak, where the Service says it.
    pub protocols: BTreeMap<String, String>,
    /// The activators that are led to.
    pub endpoints: BTreeSet<IpAddr>,
    /// Most requests on a pod at a time; 0 for no limit.
    pub hard_limit: u32,
    /// The Service that knows the pods, where it is another one.
    pub pods_of: Option<String>,
}

/// An activator, as its reports tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Name of its pod.
    pub(super) name: String,
    /// Its address.
    pub(super) address: IpAddr,
    /// When it was last heard of.
    pub(super) at: Timestamp,
    /// It is about to go.
    pub(super) leaving: bool,
    /// The doors at which it listens.
    pub(super) doors: BTreeMap<Door, bool>,
}

/// A door: namespace, Service, name of the port, number. Its value in [`Heard::doors`] is whether the activator has seen
/// that the slice leads to it.
pub(super) type Door = (String, String, String, u16);

/// What is to be written. `taken` tells the ports of all other slices.
#[must_use]
pub(super) fn decide(
    wish: &Wish,
    written: Option<&Written>,
    taken: &dyn Fn(u16) -> bool,
    heard: &[&Heard],
    now: Timestamp,
) -> Written {
    let ports = allot(wish, written, taken);
    let endpoints = if wish.proxy && !ports.is_empty() {
        choose(wish, &ports, written, heard, now)
    } else {
        BTreeSet::new()
    };
    let protocols = ports.keys().filter_map(|name| {
        let protocol = wish.ports.get(name)?.clone()?;
        Some((name.clone(), protocol))
    });
    Written {
        protocols: protocols.collect(),
        ports,
        endpoints,
        hard_limit: wish.hard_limit,
        pods_of: wish.pods_of.clone(),
    }
}

/// Whether the activators are in the path, as far as the API server and they themselves can tell: the last pod may go
/// once it has been so for the grace period. A fact for `Facts::activator_answers`.
#[must_use]
pub(super) fn in_place(wish: &Wish, written: &Written, heard: &[&Heard], now: Timestamp) -> bool {
    !written.endpoints.is_empty()
        && wish.fronted().eq(written.ports.keys())
        && written.endpoints.iter().all(|address| {
            heard
                .iter()
                .filter(|activator| activator.address == *address && is_there(activator, now))
                .any(|activator| {
                    doors(wish, &written.ports)
                        .all(|door| activator.doors.get(&door) == Some(&true))
                })
        })
}

/// TLS cannot be held: its port is not fronted.
pub(super) fn is_fronted(protocol: Option<&str>) -> bool {
    !matches!(protocol, Some("https" | "kubernetes.io/wss" | "tls"))
}

impl Wish {
    /// The ports that are fronted, by name and in their order.
    fn fronted(&self) -> impl Iterator<Item = &String> {
        self.ports
            .iter()
            .filter(|(_, protocol)| is_fronted(protocol.as_deref()))
            .map(|(name, _)| name)
    }
}

fn allot(
    wish: &Wish,
    written: Option<&Written>,
    taken: &dyn Fn(u16) -> bool,
) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    let mut used = BTreeSet::new();
    let (old, new): (Vec<_>, Vec<_>) = wish.fronted().partition(|name| {
        let number = written.and_then(|written| written.ports.get(*name));
        number.is_some_and(|&number| PORTS.contains(&number) && !taken(number))
    });
    for name in old {
        if let Some(&number) = written.and_then(|written| written.ports.get(name)) {
            used.insert(number);
            ports.insert(name.clone(), number);
        }
    }
    for name in new {
        let size = u64::from(PORTS.end() - PORTS.start()) + 1;
        let key = (&*wish.workload.namespace, &wish.service, name);
        let first = hash(&key) % size;
        // From a place of its own on, so that a port is seldom given to another Service soon after it came free.
        let free = (0..size)
            .map(|step| PORTS.start() + ((first + step) % size) as u16)
            .find(|number| !used.contains(number) && !taken(*number));
        // Ten thousand ports are fronted already: this one is not, and its workload keeps a pod.
        if let Some(number) = free {
            used.insert(number);
            ports.insert(name.clone(), number);
        }
    }
    ports
}

/// Those in the path stay; more are added in an order of the Service's own, which spreads Services over activators.
fn choose(
    wish: &Wish,
    ports: &BTreeMap<String, u16>,
    written: Option<&Written>,
    heard: &[&Heard],
    now: Timestamp,
) -> BTreeSet<IpAddr> {
    let wanted = match wish.hard_limit {
        0 => wish.activators.max(1) as usize,
        _ => 1,
    };
    let mut able: Vec<_> = heard
        .iter()
        .filter(|activator| is_there(activator, now) && !activator.leaving)
        .filter(|activator| activator.address.is_ipv6() == wish.six)
        .filter(|activator| doors(wish, ports).all(|door| activator.doors.contains_key(&door)))
        .collect();
    able.sort_by_key(|activator| {
        let stays = written.is_some_and(|written| written.endpoints.contains(&activator.address));
        (
            !stays,
            hash(&(&*wish.workload.namespace, &wish.service, &activator.name)),
        )
    });
    able.iter()
        .take(wanted)
        .map(|activator| activator.address)
        .collect()
}

/// Whether it can be counted on.
pub(super) fn is_there(activator: &Heard, now: Timestamp) -> bool {
    now.since(activator.at) < SILENT_AFTER
}

fn doors<'a>(wish: &'a Wish, ports: &'a BTreeMap<String, u16>) -> impl Iterator<Item = Door> + 'a {
    ports.iter().map(|(name, &number)| {
        let namespace = wish.workload.namespace.to_string();
        (namespace, wish.service.clone(), name.clone(), number)
    })
}

/// The same in every replica of one build; another one only moves what is not written yet.
fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn wish(proxy: bool) -> Wish {
        Wish {
            workload: TargetKey::new("apps", "Deployment", "shop", "web"),
            service: "web".to_owned(),
            service_uid: "u".to_owned(),
            ports: [("http".to_owned(), None)].into(),
            proxy,
            activators: 2,
            six: false,
            hard_limit: 0,
            pods_of: None,
        }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 3, last].into()
    }

    /// An activator that listens at these ports of `web`.
    fn heard(last: u8, number: u16, in_path: bool) -> Heard {
        let door = (
            "shop".to_owned(),
            "web".to_owned(),
            "http".to_owned(),
            number,
        );
        Heard {
            name: format!("activator-{last}"),
            address: ip(last),
            at: NOW,
            leaving: false,
            doors: [(door, in_path)].into(),
        }
    }

    fn fresh(wish: &Wish, heard: &[Heard]) -> Written {
        next(wish, None, heard)
    }

    fn next(wish: &Wish, written: Option<&Written>, heard: &[Heard]) -> Written {
        decide(wish, written, &|_| false, &all(heard), NOW)
    }

    fn all(heard: &[Heard]) -> Vec<&Heard> {
        heard.iter().collect()
    }

    fn in_place(wish: &Wish, written: &Written, heard: &[Heard], now: Timestamp) -> bool {
        super::in_place(wish, written, &all(heard), now)
    }

    #[test]
    fn first_allotted_then_in_the_path_of_those_that_listen_then_out_of_it() {
        let allotted = fresh(&wish(true), &[]);
        let number = allotted.ports["http"];
        assert!(PORTS.contains(&number) && allotted.endpoints.is_empty());
        let all = [
            heard(1, number, false),
            heard(2, number, false),
            heard(3, 1, false),
        ];
        let written = next(&wish(true), Some(&allotted), &all);
        assert_eq!(written.endpoints, [ip(1), ip(2)].into());
        assert!(
            !in_place(&wish(true), &written, &all, NOW),
            "they have not seen it"
        );
        let seen = [heard(1, number, true), heard(2, number, true)];
        assert!(in_place(&wish(true), &written, &seen, NOW));
        assert!(!in_place(&wish(true), &written, &seen[..1], NOW));
        let out = next(&wish(false), Some(&written), &seen);
        assert_eq!((out.ports["http"], out.endpoints.len()), (number, 0));
        assert!(!in_place(&wish(true), &out, &seen, NOW));
    }

    #[test]
    fn those_in_the_path_stay_and_those_that_are_silent_or_leave_go() {
        let number = fresh(&wish(true), &[]).ports["http"];
        let mut all: Vec<_> = (1..=9).map(|last| heard(last, number, true)).collect();
        let written = Written {
            ports: [("http".to_owned(), number)].into(),
            endpoints: [ip(7), ip(8)].into(),
            ..Written::default()
        };
        let next = |all: &[Heard]| next(&wish(true), Some(&written), all).endpoints;
        assert_eq!(next(&all), written.endpoints);
        all[6].leaving = true;
        let after = next(&all);
        assert!(after.contains(&ip(8)) && !after.contains(&ip(7)) && after.len() == 2);
        all[7].at = Timestamp::from_secs(996);
        assert!(!next(&all).contains(&ip(8)));
        assert!(!in_place(&wish(true), &written, &all, NOW));
    }

    #[test]
    fn one_activator_gives_out_the_tokens_of_a_hard_limit() {
        let limited = Wish {
            hard_limit: 1,
            pods_of: Some("web-pods".to_owned()),
            ..wish(true)
        };
        let number = fresh(&limited, &[]).ports["http"];
        let all: Vec<_> = (1..=5).map(|last| heard(last, number, false)).collect();
        assert_eq!(fresh(&limited, &all).endpoints.len(), 1);
    }

    #[test]
    fn ports_are_never_given_twice_and_tls_is_not_held() {
        let mut wish = wish(true);
        wish.ports
            .insert("tls".to_owned(), Some("https".to_owned()));
        wish.ports
            .insert("grpc".to_owned(), Some("kubernetes.io/h2c".to_owned()));
        let first = fresh(&wish, &[]);
        assert_eq!(first.ports.keys().collect::<Vec<_>>(), ["grpc", "http"]);
        let taken: BTreeSet<_> = first.ports.values().copied().collect();
        assert_eq!(taken.len(), 2);
        // Somebody else has them: whoever is asked again gives way.
        let second = decide(&wish, Some(&first), &|port| taken.contains(&port), &[], NOW);
        assert!(second.ports.values().all(|number| !taken.contains(number)));
        assert!(decide(&wish, None, &|_| true, &[], NOW).ports.is_empty());
    }

    #[test]
    fn a_port_that_has_just_come_is_not_in_place() {
        let mut wish = wish(true);
        let number = fresh(&wish, &[]).ports["http"];
        let seen = [heard(1, number, true)];
        let written = fresh(&wish, &seen);
        assert!(in_place(&wish, &written, &seen, NOW));
        wish.ports.insert("admin".to_owned(), None);
        assert!(!in_place(&wish, &written, &seen, NOW));
    }

    #[test]
    fn only_activators_of_the_services_kind_of_address() {
        let six = Wish {
            six: true,
            ..wish(true)
        };
        let number = fresh(&six, &[]).ports["http"];
        assert!(fresh(&six, &[heard(1, number, true)]).endpoints.is_empty());
    }
}
