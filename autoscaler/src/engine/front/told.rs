//! Which Services lead to ready pods of their own, as nodes are told it.
//!
//! The API server tells of a pod that is ready before the slice with its address is written. Whoever left the path in
//! between would leave a Service that leads nowhere.

use std::collections::HashMap;

use super::Name;

/// The slices that others write.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By namespace and own name: the Service, and whether an endpoint is ready.
    slices: HashMap<Name, (Box<str>, bool)>,
    /// How many of them have a ready endpoint, by Service; none is not here.
    ready: HashMap<Name, usize>,
}

impl Told {
    /// A slice is there, or has changed. Answers whether its Service may lead elsewhere than before.
    pub(super) fn seen(
        &mut self,
        namespace: &str,
        slice: &str,
        service: &str,
        ready: bool,
    ) -> bool {
        let of: Name = (namespace.into(), service.into());
        let before = self.leads_to_pods(&of);
        self.gone(namespace, slice);
        let name = (namespace.into(), slice.into());
        self.slices.insert(name, (service.into(), ready));
        if ready {
            *self.ready.entry(of.clone()).or_default() += 1;
        }
        before != self.leads_to_pods(&of)
    }

    /// A slice is gone. Answers its Service.
    pub(super) fn gone(&mut self, namespace: &str, slice: &str) -> Option<Box<str>> {
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

    /// Whether a Service leads to a ready pod.
    pub(super) fn leads_to_pods(&self, service: &Name) -> bool {
        self.ready.contains_key(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_several_slices() {
        let mut told = Told::default();
        let web: Name = ("shop".into(), "web".into());
        told.seen("shop", "web-1", "web", false);
        assert!(!told.leads_to_pods(&web));
        told.seen("shop", "web-1", "web", true);
        told.seen("shop", "web-2", "web", true);
        told.seen("shop", "web-1", "web", false);
        assert!(told.leads_to_pods(&web));
        told.gone("shop", "web-2");
        told.gone("shop", "web-2");
        assert!(!told.leads_to_pods(&web));
    }
}
