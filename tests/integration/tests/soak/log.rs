//! The log of a server: its number of lines, by the letter in their paths that the clients have chosen.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

/// The numbers of lines since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Logged {
    /// Lines of all requests.
    pub(super) all: u64,
    /// Lines of ordinary requests, whose responses the clients read. Their paths are `/…/k…`.
    pub(super) kept: u64,
}

/// A growing log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    read: u64,
    logged: Logged,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            logged: Logged::default(),
        }
    }

    /// Reads the new lines, and returns the numbers of all lines. The last line is read when it is complete.
    pub(super) fn logged(&mut self) -> Logged {
        let mut file = File::open(&self.path).expect("the server's log");
        file.seek(SeekFrom::Start(self.read)).expect("seek");
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).expect("a line") > 0 && line.ends_with(b"\n") {
            self.read += line.len() as u64;
            self.logged.all += u64::from(is_request(&line));
            self.logged.kept += u64::from(is_kept(&line));
            line.clear();
        }
        self.logged
    }
}

/// Returns whether a line stands for a request. HAProxy also logs its own end, and connections without a request.
fn is_request(line: &[u8]) -> bool {
    !(line.trim_ascii().is_empty() || line.starts_with(b"<BADREQ>") || line.starts_with(b"Proxy "))
}

/// Returns whether the path of a line, its second word, has a second part that begins with `k`. HAProxy logs the whole
/// URI of an HTTP/2 request.
fn is_kept(line: &[u8]) -> bool {
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let mut parts = target.split(|byte| *byte == b'/');
    let before = if target.starts_with(b"http://") { 4 } else { 2 };
    parts.nth(before).is_some_and(|part| part.starts_with(b"k"))
}
