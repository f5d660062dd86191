//! A single activator without an autoscaler leader. Its API server is a separate double without controllers. The test
//! writes the EndpointSlices that the leader would write.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ebb_api_double::Double;
use ebb_fixtures::{Process, free_port, program};

use super::allotment::{allotted_port, record_port};
use super::{Api, double_without_controllers};

/// A running `ebb-activator`, and its API server.
pub struct LoneActivator {
    /// A client of the API server, with all rights.
    pub api: Api,
    /// The activator's process.
    pub process: Process,
    /// The address of the activator's status port.
    pub status: SocketAddr,
    /// The proxied port: the address at which the activator accepts requests for Service `web`: 127.0.0.1 and the
    /// allocated port.
    pub proxied: SocketAddr,
    _double: Double,
    _folder: tempfile::TempDir,
}

impl LoneActivator {
    /// Starts an activator that reports to `autoscaler`, with these additional options. Allocates a port to Service
    /// `web` of this namespace; the Service has no EndpointSlice yet.
    ///
    /// # Panics
    /// If the activator cannot be started.
    #[must_use]
    pub fn start(namespace: &str, autoscaler: SocketAddr, options: &[&str]) -> Self {
        let double = double_without_controllers();
        let api = Api::new(&double.url(), double.admin_token());
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig()).expect("write");
        let status = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let proxied = SocketAddr::from(([127, 0, 0, 1], allotted_port()));
        let mut command = Command::new(program("ebb-activator"));
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("POD_NAME", "activator-1")
            .env("POD_IP", "127.0.0.1")
            .args(["--listen", "127.0.0.1"])
            .args(["--status-address", &status.to_string()])
            .args(["--probe-address", "127.0.0.1:0"])
            .args(["--autoscaler", &format!("http://{autoscaler}")])
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(command, None);
        record_port(&api, namespace, "web", proxied.port());
        Self {
            api,
            process,
            status,
            proxied,
            _double: double,
            _folder: folder,
        }
    }
}
