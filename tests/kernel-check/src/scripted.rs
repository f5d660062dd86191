//! A server that answers every request head with the same bytes: for responses that no well-behaved server sends, and for
//! listening-socket options that our servers do not use.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ebb_fixtures::{Process, TestCgroup};
use socket2::SockRef;

/// The argument that makes this program such a server.
pub(super) const COMMAND: &str = "scripted";

/// The action after a response has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Wait for the next request.
    Keep,
    /// Close.
    Close,
    /// End the connection with a RST.
    Reset,
    /// As [`Then::Keep`], and a connection is established only when a request arrives (`TCP_DEFER_ACCEPT`).
    Defer,
    /// As [`Then::Keep`], and a request is accepted in the first packet of a handshake (`TCP_FASTOPEN`).
    FastOpen,
}

const THEN: [(&str, Then); 5] = [
    ("keep", Then::Keep),
    ("close", Then::Close),
    ("reset", Then::Reset),
    ("defer", Then::Defer),
    ("fast-open", Then::FastOpen),
];

/// A running server.
#[derive(Debug)]
pub(super) struct Scripted {
    _process: Process,
    address: SocketAddr,
}

impl Scripted {
    /// Starts a server in a cgroup. Each of `pieces` is a separate write.
    pub(super) fn start(cgroup: &TestCgroup, at: &str, then: Then, pieces: &[&str]) -> Self {
        let (then, _) = THEN[THEN.iter().position(|(_, value)| *value == then).unwrap()];
        let mut command = Command::new(env::current_exe().expect("the path of this program"));
        command.args([COMMAND, at, then]).args(pieces);
        let (process, stdout) = start_piped(command, cgroup);
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the address of a scripted server");
        let address = line.trim().parse();
        Self {
            _process: process,
            address: address
                .unwrap_or_else(|_| panic!("no address of a scripted server: {line:?}")),
        }
    }

    /// The listening address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts a process whose standard output is connected to a pipe.
fn start_piped(mut command: Command, cgroup: &TestCgroup) -> (Process, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer).stdin(Stdio::null());
    let process = Process::start(command, Some(cgroup));
    (process, reader)
}

/// Runs as such a server until it is killed.
pub(super) fn serve(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let address = arguments.next().context("no address")?;
    let then = arguments.next().context("no word for what comes then")?;
    let Some((_, then)) = THEN.into_iter().find(|(name, _)| *name == then) else {
        bail!("{then:?}: must be one of {:?}", THEN.map(|(name, _)| name));
    };
    let pieces: &[Vec<u8>] = arguments.map(String::into_bytes).collect::<Vec<_>>().leak();
    let listener = TcpListener::bind(&address).with_context(|| address.clone())?;
    match then {
        Then::Defer => set(&listener, libc::TCP_DEFER_ACCEPT, DEFER_FOR)?,
        Then::FastOpen => set(&listener, libc::TCP_FASTOPEN, FAST_OPEN_AT_ONCE)?,
        Then::Keep | Then::Close | Then::Reset => {}
    }
    println!("{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept()?;
        // An error is ignored: in some checks the client disappears on purpose.
        thread::spawn(move || answer(client, then, pieces).ok());
    }
}

fn answer(mut client: TcpStream, then: Then, pieces: &[Vec<u8>]) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut read = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let size = client.read(&mut piece)?;
        if size == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..size]);
        while let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            read.drain(..end + 4);
            for piece in pieces {
                client.write_all(piece)?;
            }
            match then {
                Then::Keep | Then::Defer | Then::FastOpen => {}
                Then::Close => return Ok(()),
                Then::Reset => return SockRef::from(&client).set_linger(Some(Duration::ZERO)),
            }
        }
    }
}

/// Seconds that the kernel waits for a request before it establishes the connection anyway.
const DEFER_FOR: libc::c_int = 10;

/// Most pending TCP Fast Open connections, whose handshake is not complete.
const FAST_OPEN_AT_ONCE: libc::c_int = 16;

/// Sets a TCP socket option.
fn set(listener: &TcpListener, option: libc::c_int, value: libc::c_int) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: an open socket, and a value that lives during the call, with its own size.
    let failed = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).context(format!("option {option} of TCP"))
    }
}
