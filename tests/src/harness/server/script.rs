//! Servers written for the tests on the libraries of others, which do the protocol: Python's h2,
//! websockets and grpcio, and Node's http and http2.
//!
//! Each counts its own requests, and tells the count over a unix socket, where no counter of TCP sees
//! it being asked.

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
    /// Node's HTTP/1.1 server: chunks, trailers, early hints.
    Node,
    /// Node's HTTP/2 server, without TLS, the same answers.
    Node2,
    /// HTTP/2 by Python's h2, for frames that servers seldom send.
    Frames,
    /// WebSockets by Python's websockets: echoes.
    Echo,
    /// gRPC by grpcio: streams of all three kinds.
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

/// One of them, running.
#[derive(Debug)]
pub struct Service {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Service {
    /// # Panics
    /// It does not listen in time.
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

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How many requests it has had.
    ///
    /// # Panics
    /// It does not say.
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
