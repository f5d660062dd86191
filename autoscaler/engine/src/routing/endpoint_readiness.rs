//! The Services that have ready endpoints of their own pods in EndpointSlices.
//!
//! The API server reports a ready pod before the EndpointSlice with the address of the pod is written. If the
//! activators were removed from the request path between these two events, the Service would have no endpoint.

use std::collections::HashMap;

use super::service::Name;

/// The EndpointSlices that other controllers manage.
#[derive(Debug, Default)]
pub(super) struct EndpointReadiness {
    /// For each EndpointSlice (namespace and name): name of its Service, and whether at least one endpoint is ready.
    slices: HashMap<Name, (Box<str>, bool)>,
    /// Number of EndpointSlices with a ready endpoint, by Service. A Service without a ready endpoint has no entry.
    ready: HashMap<Name, usize>,
}

impl EndpointReadiness {
    /// Processes an EndpointSlice that is new or has changed. Returns whether its Service has gained its first ready
    /// endpoint or lost its last one.
    pub(super) fn update(
        &mut self,
        namespace: &str,
        slice: &str,
        service: &str,
        ready: bool,
    ) -> bool {
        let of: Name = (namespace.into(), service.into());
        let before = self.leads_to_pods(&of);
        self.remove(namespace, slice);
        let name = (namespace.into(), slice.into());
        self.slices.insert(name, (service.into(), ready));
        if ready {
            *self.ready.entry(of.clone()).or_default() += 1;
        }
        before != self.leads_to_pods(&of)
    }

    /// Records that an EndpointSlice was deleted. Returns the name of its Service.
    pub(super) fn remove(&mut self, namespace: &str, slice: &str) -> Option<Box<str>> {
        let (service, ready) = self.slices.remove(&(namespace.into(), slice.into()))?;
        let of = (namespace.into(), service.clone());
        if ready && let Some(count) = self.ready.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                self.ready.remove(&of);
            }
        }
        Some(service)
    }

    /// Returns whether a Service has a ready endpoint of a pod.
    pub(super) fn leads_to_pods(&self, service: &Name) -> bool {
        self.ready.contains_key(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_several_slices() {
        let mut readiness = EndpointReadiness::default();
        let web: Name = ("shop".into(), "web".into());
        readiness.update("shop", "web-1", "web", false);
        assert!(!readiness.leads_to_pods(&web));
        readiness.update("shop", "web-1", "web", true);
        readiness.update("shop", "web-2", "web", true);
        readiness.update("shop", "web-1", "web", false);
        assert!(readiness.leads_to_pods(&web));
        readiness.remove("shop", "web-2");
        readiness.remove("shop", "web-2");
        assert!(!readiness.leads_to_pods(&web));
    }
}
