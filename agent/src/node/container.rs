//! The fields of a pod's containers that the agent parses.

use serde::Deserialize;

/// A container of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    pub(super) name: String,
    ports: Vec<Port>,
    env: Vec<Variable>,
    restart_policy: Option<String>,
}

/// A variable in the environment of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// A port that a container declares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    container_port: u16,
    protocol: Option<String>,
}

impl Container {
    /// Returns the TCP ports that the container declares.
    pub(super) fn tcp_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.ports
            .iter()
            .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
            .map(|port| port.container_port)
            .filter(|port| *port != 0)
    }

    /// Returns whether the container runs as long as the pod although it is an init container: a native sidecar
    /// (Kubernetes 1.29).
    pub(super) fn is_native_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// Returns whether a variable has this value.
    pub(super) fn has_variable(&self, name: &str, value: &str) -> bool {
        self.env
            .iter()
            .any(|variable| variable.name == name && variable.value == value)
    }
}
