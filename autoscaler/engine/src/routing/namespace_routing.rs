//! Routing within one namespace: the workloads that each Service routes to.
//!
//! Selectors are matched with the labels of pod templates, not of pods, because a workload at zero has no pods. Pairs
//! of a Service and a workload are not stored, because a tenant can create millions of pairs with some thousand
//! objects. Instead, each query examines a bounded number of objects, so a namespace with thousands of objects does not
//! slow down other namespaces.
//!
//! Bias: a Service that routes to several workloads is proxied for none of these workloads, because a queued request
//! does not show its workload. If a query exceeds its bound, the Service counts as routing to several workloads, and
//! its workload keeps a pod.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::service::ServiceFacts;
use crate::names::WorkloadId;

type Pair = (String, String);

/// Maximum number of Services that a query examines for one workload. Few workloads have more than three Services.
const MOST_SERVICES: usize = 16;
/// Maximum number of workloads that a query examines for one Service. All examined workloads have the rarest label of
/// the Service's selector. The query ends at the second workload that matches the whole selector.
const MOST_WORKLOADS: usize = 16;
/// Maximum number of labels of a pod template. Kubernetes and Helm set about ten labels. A pod template with more
/// labels than the maximum matches no Service, and its workload keeps a pod.
const MOST_LABELS: usize = 64;

/// Services and workloads of one namespace, with indexes.
#[derive(Debug, Default)]
pub(super) struct NamespaceRouting {
    services: BTreeMap<Box<str>, IndexedService>,
    /// Services by one label of each selector. The label is the one with the fewest Services in this map when the
    /// Service is added, because a label like `team` may be in every selector.
    by_selector: HashMap<Pair, BTreeSet<Box<str>>>,
    /// Services without a selector, by the Service that selects the pods (`ebb.dev/pods-of`).
    by_pods_of: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// Opted-in workloads, with the sorted labels of each pod template.
    workloads: HashMap<WorkloadId, Vec<Pair>>,
    by_label: HashMap<Pair, BTreeSet<WorkloadId>>,
}

#[derive(Debug)]
struct IndexedService {
    facts: ServiceFacts,
    /// Key of the Service in `by_selector`; `None` if the Service has no selector.
    index_key: Option<Pair>,
}

/// Workloads that match the selector of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeadsTo {
    Nothing,
    One(WorkloadId),
    /// At least two workloads match, or the query has examined its maximum number of workloads. The value contains the
    /// matches that were found.
    Several([Option<WorkloadId>; 2]),
}

/// A Service that routes to a workload and whose requests the activators can queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProxiedService<'a> {
    pub(super) service: &'a ServiceFacts,
    /// Name of the Service that selects the pods; `None`: the proxied Service itself selects them.
    pub(super) pods_of: Option<&'a str>,
}

impl NamespaceRouting {
    /// Processes a Service that is new or has changed. Returns the Services whose request path may have changed.
    pub(super) fn service_seen(&mut self, facts: ServiceFacts) -> BTreeSet<Box<str>> {
        let mut touched = self.service_gone(&facts.name);
        let name = facts.name.clone();
        let pairs = facts.selector.iter();
        let index_key = pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .min_by_key(|pair| self.by_selector.get(pair).map_or(0, BTreeSet::len));
        if let Some(pair) = &index_key {
            let services = self.by_selector.entry(pair.clone()).or_default();
            services.insert(name.clone());
        }
        if let Some(other) = facts.pods_of() {
            let proxied_services = self.by_pods_of.entry(other.into()).or_default();
            proxied_services.insert(name.clone());
        }
        self.services
            .insert(name.clone(), IndexedService { facts, index_key });
        self.touched_by_service(&name, &mut touched);
        touched
    }

    /// Records that a Service was deleted. Returns the Services whose request path may have changed.
    pub(super) fn service_gone(&mut self, name: &str) -> BTreeSet<Box<str>> {
        let mut touched = BTreeSet::new();
        touched.insert(name.into());
        self.touched_by_service(name, &mut touched);
        let Some(known) = self.services.remove(name) else {
            return touched;
        };
        if let Some(other) = known.facts.pods_of() {
            remove(&mut self.by_pods_of, other.into(), name);
        }
        if let Some(pair) = known.index_key {
            remove(&mut self.by_selector, pair, name);
        }
        touched
    }

    /// Processes a workload that is new or has changed. Returns the Services whose request path may have changed.
    pub(super) fn workload_seen(
        &mut self,
        id: WorkloadId,
        labels: &BTreeMap<String, String>,
    ) -> BTreeSet<Box<str>> {
        let known = self.workloads.get(&id);
        if known.is_some_and(|known| known.iter().map(|(key, value)| (key, value)).eq(labels)) {
            return BTreeSet::new();
        }
        let mut touched = self.workload_gone(id);
        let labels: Vec<Pair> = match labels.len() {
            0..=MOST_LABELS => labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            _ => Vec::new(),
        };
        for pair in &labels {
            self.by_label.entry(pair.clone()).or_default().insert(id);
        }
        self.workloads.insert(id, labels);
        self.touched_by_workload(id, &mut touched);
        touched
    }

    /// Records that a workload was removed. Returns the Services whose request path may have changed.
    pub(super) fn workload_gone(&mut self, id: WorkloadId) -> BTreeSet<Box<str>> {
        let mut touched = BTreeSet::new();
        self.touched_by_workload(id, &mut touched);
        for pair in self.workloads.remove(&id).into_iter().flatten() {
            remove(&mut self.by_label, pair, &id);
        }
        touched
    }

    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.workloads.is_empty()
    }

    /// Returns the Service with this name.
    pub(super) fn service(&self, name: &str) -> Option<&ServiceFacts> {
        self.services.get(name).map(|known| &known.facts)
    }

    /// Returns the names of at most `most` Services that follow `after`, ordered by name.
    pub(super) fn services_after(
        &self,
        after: &str,
        most: usize,
    ) -> impl Iterator<Item = &Box<str>> {
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.services
            .range::<str, _>(range)
            .take(most)
            .map(|(name, _)| name)
    }

    /// Returns the Services that route only to this workload and can be proxied; an empty list if more than the maximum
    /// number of objects had to be examined.
    pub(super) fn proxied_services(&self, id: WorkloadId) -> Vec<ProxiedService<'_>> {
        self.ways(id)
            .map_or_else(Vec::new, |(_, proxied_services)| proxied_services)
    }

    /// Returns whether no request to a workload can bypass the activators, so that the workload may be scaled to zero.
    pub(super) fn can_be_queued(&self, id: WorkloadId) -> bool {
        let Some((services, proxied_services)) = self.ways(id) else {
            return false;
        };
        let mut direct = services.iter().filter(|service| !service.headless);
        direct.all(|service| service.can_be_queued() && self.selected(service) == LeadsTo::One(id))
            && !proxied_services.is_empty()
            && proxied_services
                .iter()
                .all(|proxied| proxied.service.can_be_queued())
    }

    /// Returns the workload that a Service routes to, by its own selector or by the selector of another Service
    /// (`ebb.dev/pods-of`); `None` unless exactly one workload matches.
    pub(super) fn leads_to(&self, service: &str) -> Option<WorkloadId> {
        let facts = self.service(service)?;
        let selects = match facts.pods_of() {
            Some(other) => self.service(other)?,
            None => facts,
        };
        match self.selected(selects) {
            LeadsTo::One(id) => Some(id),
            LeadsTo::Nothing | LeadsTo::Several(_) => None,
        }
    }

    /// Returns the proxied Service with the name `service`, and the workload that its requests go to. `None` if the
    /// Service is not proxied.
    pub(super) fn proxied_service(
        &self,
        service: &str,
    ) -> Option<(WorkloadId, ProxiedService<'_>)> {
        let id = self.leads_to(service)?;
        let proxied_services = self.proxied_services(id);
        let proxied_service = proxied_services
            .into_iter()
            .find(|proxied| *proxied.service.name == *service)?;
        Some((id, proxied_service))
    }

    /// Returns two lists: the Services that select a workload, and the Services that are proxied for the workload. A
    /// proxied Service either selects the workload itself, or refers to a selecting Service by `ebb.dev/pods-of`.
    /// `None` if more than the maximum number of objects had to be examined.
    fn ways(&self, id: WorkloadId) -> Option<(Vec<&ServiceFacts>, Vec<ProxiedService<'_>>)> {
        let (services, all) = self.services_of(id);
        if !all {
            return None;
        }
        let mut proxied_services = Vec::new();
        for &service in &services {
            if self.selected(service) != LeadsTo::One(id) {
                continue;
            }
            proxied_services.push(ProxiedService {
                service,
                pods_of: None,
            });
            let others = self.by_pods_of.get(&service.name).into_iter().flatten();
            for other in others.filter_map(|other| self.service(other)) {
                proxied_services.push(ProxiedService {
                    service: other,
                    pods_of: Some(&service.name),
                });
                if proxied_services.len() > MOST_SERVICES {
                    return None;
                }
            }
        }
        proxied_services.retain(|proxied| proxied.service.can_be_proxied());
        Some((services, proxied_services))
    }

    /// Returns the Services that select a workload, and whether the list is complete.
    fn services_of(&self, id: WorkloadId) -> (Vec<&ServiceFacts>, bool) {
        let mut services = Vec::new();
        let Some(labels) = self.workloads.get(&id) else {
            return (services, true);
        };
        let index_key = labels
            .iter()
            .filter_map(|pair| self.by_selector.get(pair))
            .flatten();
        for (looked_at, name) in index_key.enumerate() {
            if looked_at == MOST_SERVICES {
                return (services, false);
            }
            services.extend(self.service(name).filter(|facts| facts.selects(labels)));
        }
        (services, true)
    }

    fn selected(&self, facts: &ServiceFacts) -> LeadsTo {
        // Only the workloads with the rarest label of the selector are examined.
        let mut rarest: Option<&BTreeSet<WorkloadId>> = None;
        for (key, value) in &facts.selector {
            let Some(found) = self.by_label.get(&(key.clone(), value.clone())) else {
                return LeadsTo::Nothing;
            };
            if rarest.is_none_or(|rarest| found.len() < rarest.len()) {
                rarest = Some(found);
            }
        }
        let mut first = None;
        for (looked_at, id) in rarest.into_iter().flatten().enumerate() {
            if looked_at == MOST_WORKLOADS {
                return LeadsTo::Several([first, None]);
            }
            let labels = self.workloads.get(id);
            if labels.is_some_and(|labels| facts.selects(labels)) {
                if first.is_some() {
                    return LeadsTo::Several([first, Some(*id)]);
                }
                first = Some(*id);
            }
        }
        first.map_or(LeadsTo::Nothing, LeadsTo::One)
    }

    /// Adds to `touched` the Services whose request path may depend on the Service `name`.
    fn touched_by_service(&self, name: &str, touched: &mut BTreeSet<Box<str>>) {
        let Some(facts) = self.service(name) else {
            return;
        };
        let workloads = match self.selected(facts) {
            LeadsTo::Nothing => [None, None],
            LeadsTo::One(id) => [Some(id), None],
            LeadsTo::Several(some) => some,
        };
        self.add_with_proxied(name, touched);
        for id in workloads.into_iter().flatten() {
            self.touched_by_workload(id, touched);
        }
    }

    /// Adds to `touched` the Services whose request path may depend on a workload.
    fn touched_by_workload(&self, id: WorkloadId, touched: &mut BTreeSet<Box<str>>) {
        let (services, _) = self.services_of(id);
        for service in services {
            self.add_with_proxied(&service.name, touched);
        }
    }

    /// Adds to `touched` a Service and the Services that refer to it by `ebb.dev/pods-of`.
    fn add_with_proxied(&self, name: &str, touched: &mut BTreeSet<Box<str>>) {
        touched.insert(name.into());
        let proxied_services = self.by_pods_of.get(name).into_iter().flatten();
        touched.extend(proxied_services.take(MOST_SERVICES).cloned());
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

    fn names(routing: &NamespaceRouting, id: WorkloadId) -> Vec<(String, Option<String>)> {
        routing
            .proxied_services(id)
            .into_iter()
            .map(|proxied| {
                (
                    proxied.service.name.to_string(),
                    proxied.pods_of.map(str::to_owned),
                )
            })
            .collect()
    }

    #[test]
    fn facts_in_any_order() {
        let web = [("app", "web"), ("tier", "front")];
        for workload_first in [true, false] {
            let mut routing = NamespaceRouting::default();
            if workload_first {
                routing.workload_seen(WEB, &labels(&web));
            }
            routing.service_seen(service("web", &[("app", "web")]));
            routing.service_seen(service("none", &[("app", "none")]));
            routing.service_seen(service("bare", &[]));
            if !workload_first {
                routing.workload_seen(WEB, &labels(&web));
            }
            assert_eq!(names(&routing, WEB), [("web".to_owned(), None)]);
            assert_eq!(routing.leads_to("web"), Some(WEB));
            assert!(routing.can_be_queued(WEB));
            routing.service_seen(service("web", &[("app", "other")]));
            assert!(names(&routing, WEB).is_empty() && !routing.can_be_queued(WEB));
            routing.service_seen(service("web", &[("tier", "front")]));
            assert_eq!(routing.leads_to("web"), Some(WEB));
            for name in ["web", "none", "bare"] {
                routing.service_gone(name);
            }
            routing.workload_gone(WEB);
            assert!(
                routing.is_empty() && routing.by_label.is_empty() && routing.by_selector.is_empty()
            );
        }
    }

    #[test]
    fn a_service_of_two_workloads_fronts_neither() {
        let mut routing = NamespaceRouting::default();
        routing.workload_seen(WEB, &labels(&[("app", "web"), ("version", "1")]));
        routing.service_seen(service("web", &[("app", "web")]));
        routing.service_seen(service("first", &[("version", "1")]));
        assert!(routing.can_be_queued(WEB));
        routing.workload_seen(OTHER, &labels(&[("app", "web"), ("version", "2")]));
        assert_eq!(names(&routing, WEB), [("first".to_owned(), None)]);
        assert!(!routing.can_be_queued(WEB), "one can come past");
        assert_eq!(routing.leads_to("web"), None);
        routing.workload_gone(OTHER);
        assert!(routing.can_be_queued(WEB));
    }

    #[test]
    fn what_cannot_be_held_keeps_a_pod() {
        let mut routing = NamespaceRouting::default();
        routing.workload_seen(WEB, &labels(&[("app", "web")]));
        let mut tls = service("web", &[("app", "web")]);
        tls.ports.insert("tls".to_owned(), Some("https".to_owned()));
        routing.service_seen(tls);
        assert_eq!(
            names(&routing, WEB).len(),
            1,
            "the port without TLS is proxied"
        );
        assert!(!routing.can_be_queued(WEB));
        let mut headless = service("web", &[("app", "web")]);
        headless.headless = true;
        routing.service_seen(headless);
        assert!(names(&routing, WEB).is_empty() && !routing.can_be_queued(WEB));
        // Requests to a headless Service bypass the activators in any case, because its clients do not use a Service
        // address. So a headless Service does not prevent queueing for the other Services.
        routing.service_seen(service("front", &[("app", "web")]));
        assert!(routing.can_be_queued(WEB));
    }

    #[test]
    fn a_service_in_front_of_another_ones_pods() {
        let mut routing = NamespaceRouting::default();
        routing.workload_seen(WEB, &labels(&[("app", "web")]));
        let mut pods = service("pods", &[("app", "web")]);
        pods.headless = true;
        routing.service_seen(pods);
        let mut proxied = service("web", &[]);
        proxied.pods_of = Some("pods".into());
        routing.service_seen(proxied);
        let expected = [("web".to_owned(), Some("pods".to_owned()))];
        assert_eq!(names(&routing, WEB), expected);
        assert_eq!(routing.leads_to("web"), Some(WEB));
        assert!(routing.can_be_queued(WEB));
    }

    /// 3 000 Deployments at zero and 3 000 Services, half of them headless, all with the same selector. The memory
    /// grows with the number of objects, not with the number of pairs, and a query examines only a bounded number of
    /// objects.
    #[test]
    fn t3_thousands_of_services_of_thousands_of_workloads_cost_no_pairs() {
        const MANY: usize = 3_000;
        let mut routing = NamespaceRouting::default();
        routing.workload_seen(WEB, &labels(&[("app", "web")]));
        routing.service_seen(service("web", &[("app", "web")]));
        for number in 0..MANY {
            let mut odd = service(&format!("odd-{number}"), &[("app", "odd")]);
            odd.headless = number % 2 == 0;
            let touched = routing.service_seen(odd);
            assert!(touched.len() <= 2 * MOST_SERVICES * 2, "{}", touched.len());
            let id = WorkloadId(10 + number as u64);
            let touched = routing.workload_seen(id, &labels(&[("app", "odd")]));
            assert!(touched.len() <= 2 * MOST_SERVICES, "{}", touched.len());
        }
        let index_key: usize = routing.by_selector.values().map(BTreeSet::len).sum();
        let labelled: usize = routing.by_label.values().map(BTreeSet::len).sum();
        assert_eq!((index_key, labelled), (MANY + 1, MANY + 1));
        let odd = WorkloadId(10);
        assert_eq!(routing.services_of(odd).0.len(), MOST_SERVICES);
        assert!(routing.proxied_services(odd).is_empty() && !routing.can_be_queued(odd));
        assert_eq!(routing.leads_to("odd-1"), None);
        assert!(
            routing.can_be_queued(WEB),
            "other workloads are not affected"
        );
        for number in 0..MANY {
            routing.workload_gone(WorkloadId(10 + number as u64));
            routing.service_gone(&format!("odd-{number}"));
        }
        assert_eq!((routing.services.len(), routing.by_label.len()), (1, 1));
    }

    #[test]
    fn what_changes_the_way_of_a_service_is_told() {
        let mut routing = NamespaceRouting::default();
        let touched = routing.service_seen(service("web", &[("app", "web")]));
        assert_eq!(touched, [Box::from("web")].into());
        let mut proxied = service("front", &[]);
        proxied.pods_of = Some("web".into());
        routing.service_seen(proxied);
        let both = BTreeSet::from([Box::from("front"), Box::from("web")]);
        let web = labels(&[("app", "web")]);
        assert_eq!(routing.workload_seen(WEB, &web), both);
        assert_eq!(routing.workload_seen(WEB, &web), [].into(), "nothing new");
        assert_eq!(routing.workload_seen(OTHER, &web), both);
        assert_eq!(routing.workload_gone(OTHER), both);
        assert_eq!(
            routing.proxied_service("front").map(|(id, _)| id),
            Some(WEB)
        );
        assert_eq!(routing.service_gone("web"), both);
    }
}
