//! A Service, reduced to what its way to a workload depends on.

use std::collections::BTreeMap;

use ebb_contract::slices;

/// A Service as the API server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Labels of the pods it leads to; empty where it does not say.
    pub selector: BTreeMap<String, String>,
    /// Its TCP ports: name and `appProtocol`.
    pub ports: BTreeMap<String, Option<String>>,
    /// Whether it has more ports than are ever proxied. `ports` then has none of them.
    pub too_many_ports: bool,
    /// Whether some of what comes to it goes past whoever holds requests: by ports that are not TCP, by a policy that keeps
    /// traffic on its node, or to pods that are not ready.
    pub leaks: bool,
    /// Whether it has no address of its own: clients then find the pods themselves, and nothing can be put between.
    pub headless: bool,
    /// Whether it is one of IPv6 addresses first of all.
    pub six: bool,
    /// `ebb.dev/pods-of`: the Service that knows the pods, where this one selects none.
    pub pods_of: Option<Box<str>>,
}

impl ServiceFacts {
    /// Whether it leads to pods with these labels, which are sorted by key.
    pub(super) fn selects(&self, labels: &[(String, String)]) -> bool {
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| {
                let found = labels.binary_search_by(|(label, _)| label.cmp(key));
                found.is_ok_and(|index| labels[index].1 == *value)
            })
    }

    /// The Service that selects the pods for this one, which selects none itself.
    pub(super) fn pods_of(&self) -> Option<&str> {
        self.pods_of.as_deref().filter(|_| self.selector.is_empty())
    }

    /// Whether all that comes to it can be held.
    pub(super) fn can_be_held(&self) -> bool {
        !self.leaks
            && !self.too_many_ports
            && !self.ports.is_empty()
            && self
                .ports
                .values()
                .all(|protocol| slices::is_proxied(protocol.as_deref()))
    }

    /// Whether anything that comes to it can.
    pub(super) fn can_be_fronted(&self) -> bool {
        !self.headless
            && !self.too_many_ports
            && self
                .ports
                .values()
                .any(|protocol| slices::is_proxied(protocol.as_deref()))
    }
}
