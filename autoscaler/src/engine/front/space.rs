//! Which Services of a namespace lead to which workloads.
//!
//! By the labels of pod templates and not of pods, because a workload at zero has none. Bias: a Service that leads to
//! several workloads says of none that it waits, so it fronts none of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::service::ServiceFacts;
use crate::engine::names::WorkloadId;

type Pair = (String, String);

/// One namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    services: BTreeMap<Box<str>, Known>,
    /// Services by one pair of their selectors: one that few have, since a label like `team` may be everybody's.
    by_selector: HashMap<Pair, BTreeSet<Box<str>>>,
    /// Services that select no pods themselves, by the Service that does it for them.
    by_pods_of: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// Opted-in workloads, with the labels of their pods.
    workloads: HashMap<WorkloadId, Workload>,
    by_label: HashMap<Pair, BTreeSet<WorkloadId>>,
}

#[derive(Debug)]
struct Known {
    facts: ServiceFacts,
    /// What it is found by in `by_selector`.
    filed: Option<Pair>,
    leads_to: BTreeSet<WorkloadId>,
}

#[derive(Debug)]
struct Workload {
    labels: BTreeMap<String, String>,
    services: BTreeSet<Box<str>>,
}

/// A Service through which a workload can be reached, and at which its requests can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Front<'a> {
    pub(super) service: &'a ServiceFacts,
    /// The Service that knows the pods, where it is another one.
    pub(super) pods_of: Option<&'a str>,
}

impl Space {
    pub(super) fn service_seen(&mut self, facts: ServiceFacts) {
        self.service_gone(&facts.name);
        let name = facts.name.clone();
        let pairs = facts.selector.iter();
        let filed = pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .min_by_key(|pair| self.by_selector.get(pair).map_or(0, BTreeSet::len));
        if let Some(pair) = &filed {
            let services = self.by_selector.entry(pair.clone()).or_default();
            services.insert(name.clone());
        }
        if let Some(other) = &facts.pods_of {
            let fronts = self.by_pods_of.entry(other.clone()).or_default();
            fronts.insert(name.clone());
        }
        // The rarest pair leaves the fewest to look at.
        let candidates = facts
            .selector
            .iter()
            .map(|(key, value)| self.by_label.get(&(key.clone(), value.clone())))
            .min_by_key(|found| found.map_or(0, BTreeSet::len))
            .flatten();
        let mut leads_to = BTreeSet::new();
        for id in candidates.into_iter().flatten() {
            if let Some(workload) = self.workloads.get_mut(id)
                && facts.selects(&workload.labels)
            {
                workload.services.insert(name.clone());
                leads_to.insert(*id);
            }
        }
        let known = Known {
            facts,
            filed,
            leads_to,
        };
        self.services.insert(name, known);
    }

    pub(super) fn service_gone(&mut self, name: &str) {
        let Some(known) = self.services.remove(name) else {
            return;
        };
        if let Some(pair) = known.filed {
            remove(&mut self.by_selector, pair, name);
        }
        if let Some(other) = known.facts.pods_of {
            remove(&mut self.by_pods_of, other, name);
        }
        for id in known.leads_to {
            if let Some(workload) = self.workloads.get_mut(&id) {
                workload.services.remove(name);
            }
        }
    }

    pub(super) fn workload_seen(&mut self, id: WorkloadId, labels: &BTreeMap<String, String>) {
        if self
            .workloads
            .get(&id)
            .is_some_and(|known| known.labels == *labels)
        {
            return;
        }
        self.workload_gone(id);
        let mut services = BTreeSet::new();
        for (key, value) in labels {
            let pair = (key.clone(), value.clone());
            for name in self.by_selector.get(&pair).into_iter().flatten() {
                if let Some(known) = self.services.get_mut(name)
                    && known.facts.selects(labels)
                {
                    known.leads_to.insert(id);
                    services.insert(name.clone());
                }
            }
            self.by_label.entry(pair).or_default().insert(id);
        }
        let labels = labels.clone();
        self.workloads.insert(id, Workload { labels, services });
    }

    pub(super) fn workload_gone(&mut self, id: WorkloadId) {
        let Some(workload) = self.workloads.remove(&id) else {
            return;
        };
        for (key, value) in workload.labels {
            remove(&mut self.by_label, (key, value), &id);
        }
        for name in workload.services {
            if let Some(known) = self.services.get_mut(&name) {
                known.leads_to.remove(&id);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.workloads.is_empty()
    }

    /// The Services through which a workload, and it alone, can be reached and fronted.
    pub(super) fn fronts(&self, id: WorkloadId) -> impl Iterator<Item = Front<'_>> {
        self.services_of(id)
            .filter(|known| known.leads_to.len() == 1)
            .flat_map(|known| {
                let own = Front {
                    service: &known.facts,
                    pods_of: None,
                };
                let name: &str = &known.facts.name;
                let others = self.by_pods_of.get(name).into_iter().flatten();
                let others = others.filter_map(|other| self.services.get(other));
                let others = others.map(move |other| Front {
                    service: &other.facts,
                    pods_of: Some(name),
                });
                [own].into_iter().chain(others)
            })
            .filter(|front| front.service.can_be_fronted())
    }

    /// Whether no request to a workload can come past whoever holds them, so that it may have no pod.
    pub(super) fn can_be_held(&self, id: WorkloadId) -> bool {
        let unheld = self
            .services_of(id)
            .any(|known| !known.facts.headless && known.leads_to.len() > 1);
        let mut fronts = self.fronts(id).peekable();
        let direct = self
            .services_of(id)
            .filter(|known| !known.facts.headless)
            .all(|known| known.facts.can_be_held());
        !unheld
            && direct
            && fronts.peek().is_some()
            && fronts.all(|front| front.service.can_be_held())
    }

    /// The workload a Service leads to, itself or by another one; `None` where it is none, or not one alone.
    pub(super) fn leads_to(&self, service: &str) -> Option<WorkloadId> {
        let known = self.services.get(service)?;
        let selects = match &known.facts.pods_of {
            Some(other) => self.services.get(other)?,
            None => known,
        };
        let mut all = selects.leads_to.iter();
        all.next().copied().filter(|_| all.next().is_none())
    }

    fn services_of(&self, id: WorkloadId) -> impl Iterator<Item = &Known> {
        let workload = self.workloads.get(&id);
        let names = workload.into_iter().flat_map(|known| &known.services);
        names.filter_map(|name| self.services.get(name))
    }
}

fn remove<K, V, Q>(index: &mut HashMap<K, BTreeSet<V>>, key: K, value: &Q)
where
    K: std::hash::Hash + Eq,
    V: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(all) = index.get_mut(&key) {
        all.remove(value);
        if all.is_empty() {
            index.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: WorkloadId = WorkloadId(1);
    const OTHER: WorkloadId = WorkloadId(2);

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn service(name: &str, selector: &[(&str, &str)]) -> ServiceFacts {
        ServiceFacts {
            namespace: "shop".into(),
            name: name.into(),
            selector: labels(selector),
            ports: [("http".to_owned(), None)].into(),
            ..ServiceFacts::default()
        }
    }

    fn names(space: &Space, id: WorkloadId) -> Vec<(String, Option<String>)> {
        space
            .fronts(id)
            .map(|front| {
                (
                    front.service.name.to_string(),
                    front.pods_of.map(str::to_owned),
                )
            })
            .collect()
    }

    #[test]
    fn facts_in_any_order() {
        let web = [("app", "web"), ("tier", "front")];
        for workload_first in [true, false] {
            let mut space = Space::default();
            if workload_first {
                space.workload_seen(WEB, &labels(&web));
            }
            space.service_seen(service("web", &[("app", "web")]));
            space.service_seen(service("none", &[("app", "none")]));
            space.service_seen(service("bare", &[]));
            if !workload_first {
                space.workload_seen(WEB, &labels(&web));
            }
            assert_eq!(names(&space, WEB), [("web".to_owned(), None)]);
            assert_eq!(space.leads_to("web"), Some(WEB));
            assert!(space.can_be_held(WEB));
            space.service_seen(service("web", &[("app", "other")]));
            assert!(names(&space, WEB).is_empty() && !space.can_be_held(WEB));
            space.service_seen(service("web", &[("tier", "front")]));
            assert_eq!(space.leads_to("web"), Some(WEB));
            for name in ["web", "none", "bare"] {
                space.service_gone(name);
            }
            space.workload_gone(WEB);
            assert!(space.is_empty() && space.by_label.is_empty() && space.by_selector.is_empty());
        }
    }

    #[test]
    fn a_service_of_two_workloads_fronts_neither() {
        let mut space = Space::default();
        space.workload_seen(WEB, &labels(&[("app", "web"), ("version", "1")]));
        space.service_seen(service("web", &[("app", "web")]));
        space.service_seen(service("first", &[("version", "1")]));
        assert!(space.can_be_held(WEB));
        space.workload_seen(OTHER, &labels(&[("app", "web"), ("version", "2")]));
        assert_eq!(names(&space, WEB), [("first".to_owned(), None)]);
        assert!(!space.can_be_held(WEB), "one can come past");
        assert_eq!(space.leads_to("web"), None);
        space.workload_gone(OTHER);
        assert!(space.can_be_held(WEB));
    }

    #[test]
    fn what_cannot_be_held_keeps_a_pod() {
        let mut space = Space::default();
        space.workload_seen(WEB, &labels(&[("app", "web")]));
        let mut tls = service("web", &[("app", "web")]);
        tls.ports.insert("tls".to_owned(), Some("https".to_owned()));
        space.service_seen(tls);
        assert_eq!(names(&space, WEB).len(), 1, "its other port is fronted");
        assert!(!space.can_be_held(WEB));
        let mut headless = service("web", &[("app", "web")]);
        headless.headless = true;
        space.service_seen(headless);
        assert!(names(&space, WEB).is_empty() && !space.can_be_held(WEB));
        // Past a Service without an address nobody is led.
        space.service_seen(service("front", &[("app", "web")]));
        assert!(space.can_be_held(WEB));
    }

    #[test]
    fn a_service_in_front_of_another_ones_pods() {
        let mut space = Space::default();
        space.workload_seen(WEB, &labels(&[("app", "web")]));
        let mut pods = service("pods", &[("app", "web")]);
        pods.headless = true;
        space.service_seen(pods);
        let mut front = service("web", &[]);
        front.pods_of = Some("pods".into());
        space.service_seen(front);
        let expected = [("web".to_owned(), Some("pods".to_owned()))];
        assert_eq!(names(&space, WEB), expected);
        assert_eq!(space.leads_to("web"), Some(WEB));
        assert!(space.can_be_held(WEB));
    }
}
