//! nghttpd, the HTTP/2 server of nghttp2.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::Place;
use crate::harness::{Process, find};

/// A running nghttpd.
#[derive(Debug)]
pub struct Nghttpd {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Nghttpd {
    /// Starts an nghttpd. `/page.html` is a file, and the server pushes `/pushed.css` with it.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>) -> Self {
        let place = place.into();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("page.html"), "<p>page</p>\n").expect("page.html");
        fs::write(folder.path().join("pushed.css"), "p {}\n").expect("pushed.css");
        let address = place.free_address();
        let mut command = Command::new(find::tool("nghttpd").expect("nghttpd"));
        command
            .args(["--no-tls", "--workers=2", "--push=/page.html=/pushed.css"])
            .arg(format!("--address={}", address.ip()))
            .arg("--htdocs")
            .arg(folder.path())
            .arg(address.port().to_string());
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
