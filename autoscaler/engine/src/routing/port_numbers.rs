//! The assignment of activator port numbers to Services.
//!
//! A port number belongs to the Service whose recorded ports contain the number. If two Services have recorded the same
//! number, the Service with the older record keeps the number. A released number is not assigned again for some time,
//! because a node that has not received the change still sends the requests of the old Service to this number.
//!
//! Bias: towards stability and fair shares. Each namespace has a limit. If not all new ports of a Service are
//! available, the Service gets no new port, and keeps the ports that it has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::PORTS;

use super::service::Name;

/// Minimum time between the release of an activator port number and its next assignment: 60 s = twice the grace period
/// of scale to zero (30 s), within which the kube-proxy of every node receives a change.
const RESTS: Duration = Duration::from_secs(60);

/// The activator port numbers and the Services that claim them.
#[derive(Debug, Default)]
pub(super) struct PortNumbers {
    /// For each port number, the Services that claim it, each with the time at which its claim was recorded, in Unix
    /// seconds. The oldest claim is first.
    claims: BTreeMap<u16, BTreeSet<(u64, Name)>>,
    /// Number of claims of the Services in each namespace.
    by_namespace: HashMap<Box<str>, usize>,
    /// Earliest time at which each released port number may be assigned again.
    resting: BTreeMap<u16, Timestamp>,
}

/// Reason why a Service does not get all the ports it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shortage {
    /// The namespace of the Service has reached its limit.
    Namespace,
    /// All activator port numbers are in use.
    Cluster,
    /// The Service has more ports than Ebb proxies for one Service.
    Service,
}

impl PortNumbers {
    /// Adds a claim: the Service `name` uses the activator port `number`. `since`: time at which the claim was
    /// recorded, in Unix seconds.
    pub(super) fn claim(&mut self, number: u16, since: u64, name: &Name) {
        let claims = self.claims.entry(number).or_default();
        if claims.insert((since, name.clone())) {
            *self.by_namespace.entry(name.0.clone()).or_default() += 1;
        }
        self.resting.remove(&number);
    }

    /// Removes a claim of a Service to an activator port number.
    pub(super) fn release(&mut self, number: u16, since: u64, name: &Name, now: Timestamp) {
        let Some(claims) = self.claims.get_mut(&number) else {
            return;
        };
        if !claims.remove(&(since, name.clone())) {
            return;
        }
        if claims.is_empty() {
            self.claims.remove(&number);
            self.resting.insert(number, now + RESTS);
        }
        if let Some(count) = self.by_namespace.get_mut(&name.0) {
            *count -= 1;
            if *count == 0 {
                self.by_namespace.remove(&name.0);
            }
        }
    }

    /// Returns the Services other than `name` that claim the activator port `number`.
    pub(super) fn other_claimants<'a>(
        &'a self,
        number: u16,
        name: &'a Name,
    ) -> impl Iterator<Item = &'a Name> {
        let claims = self.claims.get(&number).into_iter().flatten();
        claims.map(|(_, by)| by).filter(move |by| *by != name)
    }

    /// Returns the number of activator ports that the Services of a namespace claim.
    pub(super) fn used_by(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).copied().unwrap_or(0)
    }

    /// Assigns an activator port number to each port of a Service. Returns the numbers by port name, and the reason if
    /// numbers are missing. `needs`: names of the ports. `had`: the numbers so far by port name; the Service keeps them
    /// if it may. `most`: maximum number of ports in the namespace. If not all new numbers are available, the Service
    /// gets no new number.
    pub(super) fn allot<'a>(
        &self,
        name: &Name,
        needs: impl Iterator<Item = &'a String>,
        had: &BTreeMap<String, u16>,
        most: usize,
        now: Timestamp,
    ) -> (BTreeMap<String, u16>, Option<Shortage>) {
        let mut ports = BTreeMap::new();
        let mut used = BTreeSet::new();
        let mut new = Vec::new();
        for port in needs {
            match had.get(port) {
                Some(&number) if self.may_keep(number, name) && used.insert(number) => {
                    ports.insert(port.clone(), number);
                }
                _ => new.push(port),
            }
        }
        let claimed_already = had
            .values()
            .filter(|number| self.is_claimed(**number, name));
        let others = self
            .used_by(&name.0)
            .saturating_sub(claimed_already.count());
        if new.is_empty() {
            return (ports, None);
        }
        if others + ports.len() + new.len() > most {
            return (ports, Some(Shortage::Namespace));
        }
        let kept = ports.clone();
        for port in new {
            let Some(number) = self.free(name, port, &used, now) else {
                return (kept, Some(Shortage::Cluster));
            };
            used.insert(number);
            ports.insert(port.clone(), number);
        }
        (ports, None)
    }

    /// Returns whether a Service may keep a port number. The number must be in the range of the activator ports, and no
    /// other Service may have an older claim to it.
    fn may_keep(&self, number: u16, name: &Name) -> bool {
        let first = self.claims.get(&number).and_then(BTreeSet::first);
        PORTS.contains(&number) && first.is_none_or(|(_, by)| by == name)
    }

    fn is_claimed(&self, number: u16, name: &Name) -> bool {
        let claims = self.claims.get(&number).into_iter().flatten();
        claims.into_iter().any(|(_, by)| by == name)
    }

    /// Returns a number that no Service claims and that may be assigned again; `None` if no such number is available.
    /// The search starts at a number that is a hash of the Service and the port.
    fn free(&self, name: &Name, port: &str, used: &BTreeSet<u16>, now: Timestamp) -> Option<u16> {
        let size = PORTS.len();
        if self.claims.len() >= size {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (name, port).hash(&mut hasher);
        let first = (hasher.finish() % size as u64) as usize;
        let (begin, end) = (*PORTS.start(), *PORTS.end());
        let first = begin + first as u16;
        let is_free = |number: &u16| {
            !used.contains(number)
                && !self.claims.contains_key(number)
                && self.resting.get(number).is_none_or(|until| *until <= now)
        };
        (first..=end).chain(begin..first).find(is_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn name(service: &str) -> Name {
        ("shop".into(), service.into())
    }

    fn ports(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_older_record_keeps_a_number_that_two_claim() {
        let mut numbers = PortNumbers::default();
        let (old, new) = (name("old"), ("other".into(), "new".into()));
        numbers.claim(20_001, 5, &old);
        numbers.claim(20_001, 9, &new);
        let http = ports(&["http"]);
        let had = BTreeMap::from([("http".to_owned(), 20_001)]);
        let of = |name: &Name| numbers.allot(name, http.iter(), &had, 200, NOW).0["http"];
        assert_eq!(of(&old), 20_001);
        assert_ne!(of(&new), 20_001);
        assert_eq!(
            numbers.other_claimants(20_001, &old).collect::<Vec<_>>(),
            [&new]
        );
    }

    #[test]
    fn t5_a_namespace_has_a_limit_and_a_service_gets_all_its_ports_or_none() {
        let mut numbers = PortNumbers::default();
        let none = BTreeMap::new();
        let many: Vec<_> = (0..6).map(|port| port.to_string()).collect();
        let (first, short) = numbers.allot(&name("first"), many.iter(), &none, 10, NOW);
        assert_eq!((first.len(), short), (6, None));
        for number in first.values() {
            numbers.claim(*number, 1, &name("first"));
        }
        let (second, short) = numbers.allot(&name("second"), many.iter(), &none, 10, NOW);
        assert_eq!((second.len(), short), (0, Some(Shortage::Namespace)));
        let elsewhere = ("other".into(), "web".into());
        let (third, short) = numbers.allot(&elsewhere, many.iter(), &none, 10, NOW);
        assert_eq!((third.len(), short), (6, None));
        // A Service keeps its ports, even if it needs more ports than are available.
        let more: Vec<_> = (0..20).map(|port| port.to_string()).collect();
        let (grown, short) = numbers.allot(&name("first"), more.iter(), &first, 10, NOW);
        assert_eq!((grown, short), (first, Some(Shortage::Namespace)));
    }

    #[test]
    fn a_number_that_came_free_rests() {
        let mut numbers = PortNumbers::default();
        let http = ports(&["http"]);
        let none = BTreeMap::new();
        let web = name("web");
        let given = |numbers: &PortNumbers, now| {
            numbers.allot(&web, http.iter(), &none, 200, now).0["http"]
        };
        let number = given(&numbers, NOW);
        numbers.claim(number, 1, &web);
        numbers.release(number, 1, &web, NOW);
        assert_ne!(given(&numbers, NOW + Duration::from_secs(59)), number);
        assert_eq!(given(&numbers, NOW + RESTS), number);
        assert_eq!(numbers.used_by("shop"), 0);
    }

    #[test]
    fn when_all_are_in_use_nobody_gets_one() {
        let mut numbers = PortNumbers::default();
        for number in PORTS {
            numbers.claim(number, 1, &name("all"));
        }
        let http = ports(&["http"]);
        let web = ("other".into(), "web".into());
        let (none, short) = numbers.allot(&web, http.iter(), &BTreeMap::new(), 200, NOW);
        assert_eq!((none.len(), short), (0, Some(Shortage::Cluster)));
    }
}
