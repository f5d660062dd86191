//! A Service, reduced to the properties that its request path depends on.

use std::collections::BTreeMap;

use ebb_contract::slices;

/// Namespace and name of a Service.
pub(super) type Name = (Box<str>, Box<str>);

/// A Service as the API server reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Selector: labels of the pods behind it; empty if it has no selector.
    pub selector: BTreeMap<String, String>,
    /// Its TCP ports: name and `appProtocol`.
    pub ports: BTreeMap<String, Option<String>>,
    /// Whether it has more ports than Ebb proxies for one Service. `ports` is then empty.
    pub too_many_ports: bool,
    /// Whether some requests to it bypass the activators: through ports that are not TCP, because of a traffic policy
    /// that keeps traffic on its node, or because it has pods that are not ready as endpoints.
    pub leaks: bool,
    /// Whether it is headless: clients then resolve the pods' addresses themselves, and no activator can be in their
    /// path.
    pub headless: bool,
    /// Whether its first address family is IPv6.
    pub six: bool,
    /// `ebb.dev/pods-of`: the Service that selects the pods, if this one has no selector.
    pub pods_of: Option<Box<str>>,
}

impl ServiceFacts {
    /// Returns whether its selector matches pods with these labels, which are sorted by key.
    pub(super) fn selects(&self, labels: &[(String, String)]) -> bool {
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| {
                let found = labels.binary_search_by(|(label, _)| label.cmp(key));
                found.is_ok_and(|index| labels[index].1 == *value)
            })
    }

    /// Returns the Service that selects the pods for this one, if this one has no selector.
    pub(super) fn pods_of(&self) -> Option<&str> {
        self.pods_of.as_deref().filter(|_| self.selector.is_empty())
    }

    /// Returns whether the activators can queue every request to it.
    pub(super) fn can_be_queued(&self) -> bool {
        !self.leaks
            && !self.too_many_ports
            && !self.ports.is_empty()
            && self
                .ports
                .values()
                .all(|protocol| slices::is_proxied(protocol.as_deref()))
    }

    /// Returns whether the activators can queue any request to it.
    pub(super) fn can_be_proxied(&self) -> bool {
        !self.headless
            && !self.too_many_ports
            && self
                .ports
                .values()
                .any(|protocol| slices::is_proxied(protocol.as_deref()))
    }
}
