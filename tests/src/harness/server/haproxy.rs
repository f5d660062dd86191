//! HAProxy in front of an application.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::Place;
use crate::harness::{Process, find};

/// A running HAProxy.
#[derive(Debug)]
pub struct HaProxy {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl HaProxy {
    /// Starts an HAProxy that forwards HTTP/1.1 to `app` over persistent connections.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>, app: SocketAddr) -> Self {
        let place = place.into();
        let folder = tempfile::tempdir().expect("a folder");
        let address = place.free_address();
        let path = folder.path().join("haproxy.cfg");
        let configuration = CONFIGURATION
            .replace("{address}", &address.to_string())
            .replace("{app}", &app.to_string());
        fs::write(&path, configuration).expect("haproxy.cfg");
        let mut command = Command::new(find::tool("haproxy").expect("haproxy"));
        // `-db`: in the foreground.
        command.args(["-db", "-f"]).arg(path);
        let process = place.serve(command, address);
        Self {
            _process: process,
            _folder: folder,
            address,
        }
    }

    /// The listening address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

const CONFIGURATION: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind {address}
    default_backend app
backend app
    server app {app}
";
