//! The hop at which the requests of a pod are counted.
//!
//! A mesh puts a sidecar into the pod, and redirects the pod's connections to it. From outside, TLS arrives at the
//! sidecar; the application gets plain HTTP from the sidecar. So the requests of such a pod are counted at the ports of
//! the application. The known sidecars are in the table of the module [`sidecar`]. Bias: a pod without a known sidecar
//! is counted at the edge. Failure mode: if the application has no known port, its pod is counted at the edge, where
//! TLS is opaque; the choice says what to do ([`CountedAt::advice`]).

use std::collections::BTreeMap;

use ebb_autoscaler_core::annotations::Hop;
use ebb_contract::{
    hop::{ANNOTATION, APP, CountedAt, DEFAULT, EDGE, PORTS},
    limits::MAX_PORTS,
};

use super::{
    container::Container,
    sidecar::{self, Sidecar},
};

/// The parts of a pod that decide where its requests are counted.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    /// `ebb.dev/ports`; empty without the annotation.
    pub(super) ports: Vec<u16>,
    /// `ebb.dev/hop`.
    pub(super) hop: Option<Hop>,
    /// All annotations of the pod.
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) containers: &'a [Container],
    pub(super) init_containers: &'a [Container],
}

impl Choice<'_> {
    /// Returns the connections on which the requests of the pod are counted. `ebb.dev/ports` takes precedence over
    /// `ebb.dev/hop`, and both over the sidecars of the pod.
    ///
    /// # Errors
    /// The annotation asks for the application's hop, but the application has no known port; or the application has more
    /// ports than the kernel programs can compare. The string says what to do.
    pub(super) fn make(self) -> Result<CountedAt<'static>, String> {
        if !self.ports.is_empty() {
            return Ok(counted_at(PORTS, ANNOTATION, self.ports));
        }
        let running = self.running();
        let sidecars = sidecar::of_pod(self.annotations, &running);
        let at_app = |reason, ports: Vec<u16>| CountedAt {
            only_inside: sidecars
                .iter()
                .any(|sidecar| sidecar.is_transparent(self.annotations, &running)),
            ..counted_at(APP, reason, ports)
        };
        match (self.hop, sidecars.first()) {
            (Some(Hop::Edge), _) => Ok(counted_at(EDGE, ANNOTATION, Vec::new())),
            (Some(Hop::App), _) => {
                let ports = self.app_ports(&sidecars);
                if ports.is_empty() {
                    return Err(
                        "ebb.dev/hop: \"app\": no container declares a port (containerPort); declare the \
                         application's port, or name it in ebb.dev/ports"
                            .to_owned(),
                    );
                }
                Ok(at_app(ANNOTATION, few(ports)?))
            }
            // A pod with nothing but a sidecar is a gateway: its proxy is the application.
            (None, Some(_)) if self.apps().next().is_none() => {
                Ok(counted_at(EDGE, DEFAULT, Vec::new()))
            }
            (None, Some(first)) => {
                let ports = match self.queue_ports() {
                    queue if queue.is_empty() => self.app_ports(&sidecars),
                    queue => queue,
                };
                let is_edge = sidecars
                    .iter()
                    .all(|sidecar| !sidecar.queue_ports.is_empty());
                if is_edge || ports.is_empty() {
                    return Ok(counted_at(EDGE, first.name, ports));
                }
                Ok(at_app(first.name, few(ports)?))
            }
            (None, None) => Ok(counted_at(EDGE, DEFAULT, Vec::new())),
        }
    }

    /// Returns the containers that run as long as the pod.
    fn running(&self) -> Vec<&Container> {
        let native = self.init_containers.iter();
        let native = native.filter(|container| container.is_native_sidecar());
        self.containers.iter().chain(native).collect()
    }

    /// Returns the containers of the application.
    fn apps(&self) -> impl Iterator<Item = &Container> {
        let is_app = |container: &&Container| sidecar::of_container(container).is_none();
        self.containers.iter().filter(is_app)
    }

    /// Returns the ports of the application: those that its containers declare, and those that annotations of its
    /// sidecars name.
    fn app_ports(&self, sidecars: &[&Sidecar]) -> Vec<u16> {
        let declared = self.apps().flat_map(Container::tcp_ports);
        let named = sidecars
            .iter()
            .flat_map(|sidecar| sidecar.app_ports(self.annotations));
        sorted(declared.chain(named))
    }

    /// Returns the ports at which a sidecar queues requests for the application.
    fn queue_ports(&self) -> Vec<u16> {
        let declared = self.containers.iter().flat_map(|container| {
            let queue_ports =
                sidecar::of_container(container).map_or(&[][..], |sidecar| sidecar.queue_ports);
            container
                .tcp_ports()
                .filter(|port| queue_ports.contains(port))
        });
        sorted(declared)
    }
}

fn counted_at(hop: &'static str, reason: &'static str, ports: Vec<u16>) -> CountedAt<'static> {
    CountedAt {
        hop: hop.into(),
        reason: reason.into(),
        ports,
        only_inside: false,
    }
}

fn sorted(ports: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Returns the application's ports unless there are more than the kernel programs can compare. Some of the ports are not
/// chosen, because requests at the others would be missing without a sign.
fn few(ports: Vec<u16>) -> Result<Vec<u16>, String> {
    if ports.len() <= MAX_PORTS {
        return Ok(ports);
    }
    let count = ports.len();
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    Err(format!(
        "the containers declare {count} TCP ports, and requests can be counted at {MAX_PORTS} at most: name the ports \
         that serve requests in ebb.dev/ports, or set ebb.dev/hop: edge (declared: {})",
        ports.join(", ")
    ))
}

#[cfg(test)]
mod tests;
