//! A Service, reduced to the properties on which the request path depends.

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
    /// Selector of the Service (labels of its pods); empty without a selector.
    pub selector: BTreeMap<String, String>,
    /// TCP ports of the Service: `appProtocol` by port name.
    pub ports: BTreeMap<String, Option<String>>,
    /// Whether the Service has more ports than Ebb proxies for one Service. If true, `ports` is empty.
    pub too_many_ports: bool,
    /// Whether some requests to the Service can bypass the activators. There are three causes: ports that are not TCP,
    /// a traffic policy that keeps traffic on its node, or endpoints of pods that are not ready.
    pub leaks: bool,
    /// Whether the Service is headless. Clients of a headless Service connect directly to the addresses of pods, so no
    /// activator can be in the request path.
    pub headless: bool,
    /// Whether the first address family of the Service is IPv6.
    pub six: bool,
    /// Annotation `ebb.dev/pods-of`: name of the Service that selects the pods, for a Service without a selector.
    pub pods_of: Option<Box<str>>,
}

impl ServiceFacts {
    /// Returns whether the selector matches pods with these labels. `labels` must be sorted by key.
    pub(super) fn selects(&self, labels: &[(String, String)]) -> bool {
        !self.selector.is_empty()
            && self.selector.iter().all(|(key, value)| {
                let found = labels.binary_search_by(|(label, _)| label.cmp(key));
                found.is_ok_and(|index| labels[index].1 == *value)
            })
    }

    /// Returns the name of the Service that selects the pods, if this Service has no selector.
    pub(super) fn pods_of(&self) -> Option<&str> {
        self.pods_of.as_deref().filter(|_| self.selector.is_empty())
    }

    /// Returns whether the activators can queue every request to the Service.
    pub(super) fn can_be_queued(&self) -> bool {
        !self.leaks
            && !self.too_many_ports
            && !self.ports.is_empty()
            && self
                .ports
                .values()
                .all(|protocol| slices::is_proxied(protocol.as_deref()))
    }

    /// Returns whether the activators can queue at least some requests to the Service.
    pub(super) fn can_be_proxied(&self) -> bool {
        !self.headless
            && !self.too_many_ports
            && self
                .ports
                .values()
                .any(|protocol| slices::is_proxied(protocol.as_deref()))
    }
}
