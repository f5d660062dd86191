//! A client that chooses each byte, for requests that no well-behaved client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockRef, Socket, Type};

/// Limit for an answer, longer than any answer in these tests takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// One TCP connection. Dropping it closes it.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Received and not yet read.
    buffer: Vec<u8>,
}

impl Wire {
    /// # Panics
    /// If nothing listens at this address.
    #[must_use]
    pub fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}")))
    }

    /// Connects with a longer limit for answers.
    ///
    /// # Panics
    /// If nothing listens at this address.
    #[must_use]
    pub fn patient(to: SocketAddr, answers_within: Duration) -> Self {
        let wire = Self::connect(to);
        let set = wire.stream.set_read_timeout(Some(answers_within));
        set.expect("a read timeout");
        wire
    }

    /// Connects with a small receive buffer (the kernel doubles the size, and has a minimum).
    ///
    /// # Panics
    /// If nothing listens at this address.
    #[must_use]
    pub fn connect_narrow(to: SocketAddr, room: usize) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(room).expect("SO_RCVBUF");
        let connected = socket.connect(&to.into());
        connected.unwrap_or_else(|error| panic!("{to}: {error}"));
        Self::over(socket.into())
    }

    /// Connects with TCP Fast Open: the first packet carries the first bytes.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn connect_fast(to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        setsockopt(&socket, sockopt::TcpFastOpenConnect, &true).expect("TCP_FASTOPEN_CONNECT");
        let connected = socket.connect(&to.into());
        connected.unwrap_or_else(|error| panic!("{to}: {error}"));
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        // Each write is a packet of its own.
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
            .set_read_timeout(Some(ANSWERS_WITHIN))
            .expect("a read timeout");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// # Panics
    /// If the connection is broken.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
    }

    /// Shuts down the sending side and continues to receive.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Ends the connection with a RST instead of a FIN.
    ///
    /// # Panics
    /// If the kernel refuses SO_LINGER.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER");
    }

    /// Reads this many bytes.
    ///
    /// # Panics
    /// If the connection ends first.
    #[track_caller]
    pub fn take(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            assert!(self.fill(), "closed after {:?}", self.buffer);
        }
        self.buffer.drain(..size).collect()
    }

    /// Reads and drops everything up to the end of the connection. Returns the number of bytes.
    ///
    /// # Panics
    /// If nothing arrives for half a minute.
    #[track_caller]
    pub fn drain(&mut self) -> usize {
        let mut size = 0;
        loop {
            size += self.buffer.drain(..).len();
            if !self.fill() {
                return size;
            }
        }
    }

    /// Sends a GET with these fields (each ended by `\r\n`).
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn get(&mut self, path: &str, fields: &str) {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
    }

    /// Reads the header of the next response, `\r\n\r\n` included.
    ///
    /// # Panics
    /// If the connection ends first.
    #[track_caller]
    pub fn header(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let header: Vec<_> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8_lossy(&header).into_owned();
            }
            assert!(self.fill(), "closed before a header: {:?}", self.buffer);
        }
    }

    /// Reads the next response, whose header gives the body's length. Returns its status.
    ///
    /// # Panics
    /// If the connection ends first, or the header gives no length.
    #[track_caller]
    pub fn response(&mut self) -> u16 {
        self.response_with_body().0
    }

    /// Reads the next response like `response`. Returns its status and body.
    ///
    /// # Panics
    /// If the connection ends first, or the header gives no length.
    #[track_caller]
    pub fn response_with_body(&mut self) -> (u16, Vec<u8>) {
        let header = self.header();
        let length = header
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>())?
                    .ok()
            })
            .unwrap_or_else(|| panic!("no length in {header:?}"));
        while self.buffer.len() < length {
            assert!(self.fill(), "closed in a body");
        }
        (status(&header), self.buffer.drain(..length).collect())
    }

    /// Reads everything up to the end of a chunked body or of the connection. Returns the number of bytes.
    ///
    /// # Panics
    /// If nothing arrives for half a minute.
    #[track_caller]
    pub fn to_end(&mut self) -> usize {
        while !self.buffer.ends_with(b"\r\n0\r\n\r\n") && self.fill() {}
        self.buffer.drain(..).len()
    }

    /// Reads available bytes; `false` at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(size) => {
                self.buffer.extend_from_slice(&piece[..size]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing received for {ANSWERS_WITHIN:?}: {error}"),
        }
    }
}

/// The status code in a response header.
#[track_caller]
fn status(header: &str) -> u16 {
    header
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {header:?}"))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
