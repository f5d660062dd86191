//! Test servers built on third-party libraries that implement the protocol: Python's h2, websockets and grpcio, and Node's
//! http and http2.
//!
//! Each server counts its own requests and reports the count over a unix socket, so that no TCP counter sees the query.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{LISTENS_WITHIN, Place, listening};
use crate::harness::{Process, eventually, find};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Node's HTTP/1.1 server: chunked bodies, trailers, early hints.
    Node,
    /// Node's HTTP/2 server without TLS, with the same answers.
    Node2,
    /// HTTP/2 by Python's h2, for frames that servers rarely send.
    Frames,
    /// WebSockets by Python's websockets: an echo server.
    Echo,
    /// gRPC by grpcio: all three kinds of streams.
    Grpc,
}

impl Script {
    fn command(self) -> Command {
        let node = |source| {
            let mut command = Command::new(find::tool("node").expect("node"));
            command.args(["-e", source, "--"]);
            command
        };
        let python = |module, source| {
            let mut command = Command::new(find::python(module).expect("a Python with its module"));
            command.args(["-c", source]);
            command
        };
        match self {
            Self::Node => {
                let mut command = node(include_str!("scripts/node.js"));
                command.arg("http");
                command
            }
            Self::Node2 => {
                let mut command = node(include_str!("scripts/node.js"));
                command.arg("http2");
                command
            }
            Self::Frames => python("h2", include_str!("scripts/frames.py")),
            Self::Echo => python("websockets", include_str!("scripts/echo.py")),
            Self::Grpc => python("grpc", include_str!("scripts/grpc_server.py")),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Service {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Service {
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(script: Script, place: impl Into<Place<'a>>) -> Self {
        let place = place.into();
        let address = place.free_address();
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = script.command();
        command
            .args([address.ip().to_string(), address.port().to_string()])
            .arg(folder.path().join("count"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(command, Some(place.cgroup));
        let service = Self {
            process,
            folder,
            address,
        };
        eventually("its count", LISTENS_WITHIN, || service.count());
        listening(address);
        service
    }

    /// The listening address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Number of requests received.
    ///
    /// # Panics
    /// If the server does not report the count.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.count().expect("the server's count")
    }

    fn count(&self) -> Option<u64> {
        let mut text = String::new();
        UnixStream::connect(self.folder.path().join("count"))
            .and_then(|mut stream| stream.read_to_string(&mut text))
            .ok()?;
        text.trim().parse().ok()
    }
}
