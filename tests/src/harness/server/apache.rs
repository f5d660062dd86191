//! Apache: a forward proxy that accepts CONNECT, and HTTP/2 by prior knowledge and by upgrade.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Place;
use crate::harness::{Process, Wire, find};

/// A running Apache.
#[derive(Debug)]
pub struct Apache {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Apache {
    /// Starts an Apache that accepts CONNECT to any port of this machine; `/page.html` is a file.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>) -> Self {
        let place = place.into();
        let folder = tempfile::Builder::new()
            .prefix("ebb-apache-")
            .tempdir()
            .expect("a folder");
        let address = place.free_address();
        let configuration = CONFIGURATION
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{modules}", modules())
            .replace("{address}", &address.to_string());
        let path = folder.path().join("apache.conf");
        fs::write(&path, configuration).expect("apache.conf");
        fs::write(folder.path().join("page.html"), "<p>page</p>\n").expect("page.html");
        let mut command = Command::new(find::tool("apache2").expect("apache2"));
        command.args(["-D", "FOREGROUND", "-f"]).arg(path);
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

    /// Number of requests answered, without this query.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let mut wire = Wire::connect(self.address);
        wire.get("/status?auto", "Connection: close\r\n");
        let (_, body) = wire.response_with_body();
        let text = String::from_utf8_lossy(&body).into_owned();
        text.lines()
            .find_map(|line| line.strip_prefix("Total Accesses: "))
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no count in {text:?}"))
    }
}

/// The folder of modules: Debian's, else Red Hat's.
fn modules() -> &'static str {
    ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules"]
        .into_iter()
        .find(|folder| Path::new(folder).is_dir())
        .expect("Apache's modules")
}

/// The configuration. `User` and `Group` are not root, because Apache refuses to run as root. The folder is therefore
/// readable for all.
const CONFIGURATION: &str = "
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule http2_module {modules}/mod_http2.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_connect_module {modules}/mod_proxy_connect.so
LoadModule status_module {modules}/mod_status.so
ServerName test
ServerRoot {folder}
DocumentRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
User nobody
Group nogroup
Listen {address}
Protocols h2c http/1.1
H2Upgrade on
ProxyRequests on
AllowCONNECT 1024-65535
ExtendedStatus on
<Location /status>
    SetHandler server-status
</Location>
";
