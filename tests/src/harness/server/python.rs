//! Python's servers: an HTTP/1.0 one of the standard library, and one that answers any request
//! with the bytes it was given, for responses no well-behaved server sends.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Place, listening};
use crate::harness::{Process, find};

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

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// One answer of a [`Scripted`] server.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Reply {
    /// All of its bytes. (One character a byte: below 256.)
    pub bytes: String,
    /// Sent in pieces of so many bytes; 0: all at once.
    pub piece: usize,
    /// The connection is closed after it.
    pub close: bool,
}

impl Reply {
    /// In one piece, on a connection that stays.
    #[must_use]
    pub fn new(bytes: impl Into<String>) -> Self {
        Self {
            bytes: bytes.into(),
            piece: 0,
            close: false,
        }
    }
}

/// Answers each header it has read to the end with bytes it was given.
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
    pub fn start<'a>(place: impl Into<Place<'a>>, reply: &str, close: bool) -> Self {
        let reply = Reply {
            close,
            ..Reply::new(reply)
        };
        Self::replies(place, "", &[reply])
    }

    /// The reply of that number to a path of `/` and a number, the first one to any other; and
    /// `greeting` to a connection before it has asked anything.
    ///
    /// # Panics
    /// It does not listen in time.
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

    /// Where it listens.
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
