//! Python's servers: an HTTP/1.0 one of the standard library, and one that answers any request
//! with the bytes it was given, for responses no well-behaved server sends.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{listening, local};
use crate::harness::{Process, TestCgroup, free_port};

/// `python3 -m http.server`: HTTP/1.0, closes after each response.
#[derive(Debug)]
pub struct Files {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Files {
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(cgroup: &TestCgroup) -> Self {
        let address = local(free_port());
        let port = address.port().to_string();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("a path in UTF-8");
        let process = python(
            &["-m", "http.server", "-b", "127.0.0.1", "-d", path, &port],
            cgroup,
        );
        listening(address);
        Self {
            _process: process,
            _folder: folder,
            address,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers each header it has read to the end with the same bytes.
#[derive(Debug)]
pub struct Scripted {
    _process: Process,
    address: SocketAddr,
}

impl Scripted {
    /// `reply` to every request; closes after it where `close` says so.
    ///
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(cgroup: &TestCgroup, reply: &str, close: bool) -> Self {
        let address = local(free_port());
        let port = address.port().to_string();
        let close = if close { "close" } else { "keep" };
        let process = python(&["-c", SCRIPT, &port, reply, close], cgroup);
        listening(address);
        Self {
            _process: process,
            address,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn python(arguments: &[&str], cgroup: &TestCgroup) -> Process {
    let mut command = Command::new("python3");
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(command, Some(cgroup))
}

const SCRIPT: &str = r#"
import socket, sys, threading
port, reply, close = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3] == "close"
def serve(client):
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read = b""
        while data := client.recv(65536):
            read += data
            while b"\r\n\r\n" in read:
                read = read.split(b"\r\n\r\n", 1)[1]
                client.sendall(reply)
                if close:
                    return
server = socket.create_server(("127.0.0.1", port), backlog=128)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"#;
