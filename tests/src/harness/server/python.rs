//! Python servers: the standard library's HTTP/1.0 server, and a server that answers any request with given bytes, for
//! responses that no well-behaved server sends.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Place, listening};
use crate::harness::{Process, find};

/// `python3 -m http.server`: HTTP/1.0, closes the connection after each response.
#[derive(Debug)]
pub struct Files {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Files {
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>) -> Self {
        let place = place.into();
        let address = place.free_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("a path in UTF-8");
        let process = python(&["-m", "http.server", "-b", &ip, "-d", path, &port], place);
        listening(address);
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

/// One answer of a [`Scripted`] server.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Reply {
    /// All bytes of the answer. (One character is one byte: code points below 256.)
    pub bytes: String,
    /// Size of the pieces in which the answer is sent, in bytes; 0: all at once.
    pub piece: usize,
    /// Whether the connection is closed after the answer.
    pub close: bool,
}

impl Reply {
    /// An answer in one piece, on a connection that stays open.
    #[must_use]
    pub fn new(bytes: impl Into<String>) -> Self {
        Self {
            bytes: bytes.into(),
            piece: 0,
            close: false,
        }
    }
}

/// Answers each complete request header with given bytes.
#[derive(Debug)]
pub struct Scripted {
    _process: Process,
    address: SocketAddr,
}

impl Scripted {
    /// Answers every request with `reply`, and closes the connection afterwards if `close` is set.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>, reply: &str, close: bool) -> Self {
        let reply = Reply {
            close,
            ..Reply::new(reply)
        };
        Self::replies(place, "", &[reply])
    }

    /// Answers a path of `/` and a number with the reply of that index, and any other path with the first reply. Sends
    /// `greeting` on each new connection before the client has sent anything.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn replies<'a>(place: impl Into<Place<'a>>, greeting: &str, replies: &[Reply]) -> Self {
        let place = place.into();
        let address = place.free_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let replies = serde_json::to_string(replies).expect("replies as JSON");
        let process = python(&["-c", SCRIPT, &ip, &port, greeting, &replies], place);
        listening(address);
        Self {
            _process: process,
            address,
        }
    }

    /// The listening address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn python(arguments: &[&str], place: Place<'_>) -> Process {
    let mut command = Command::new(find::tool("python3").expect("python3"));
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(command, Some(place.cgroup))
}

const SCRIPT: &str = include_str!("scripts/scripted.py");
