//! An HTTP/2 client that chooses each frame, to send what no well-behaved client sends.
//!
//! The only state is the number of the next stream. There is no flow control: the client opens the widest window at the
//! start. Header blocks are literals (RFC 7541, 6.2.3), so no compression context is needed either.

use std::net::SocketAddr;

use super::Wire;

/// Frame types (RFC 9113, 6).
pub mod kind {
    #![expect(missing_docs, reason = "as the RFC has them")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags (RFC 9113, 6). `ACK` is the same bit as `END_STREAM`, for frames that belong to no stream.
pub mod flag {
    #![expect(missing_docs, reason = "as the RFC has them")]
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// The connection preface (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Largest payload of a frame, and widest window.
const LARGEST_FRAME: u32 = (1 << 24) - 1;
const WIDEST_WINDOW: u32 = (1 << 31) - 1;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Stream identifier; 0: the connection.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Creates a frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// The frame's bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Whether the frame ends its stream.
    fn ends_stream(&self) -> bool {
        self.kind == kind::RST_STREAM
            || (matches!(self.kind, kind::DATA | kind::HEADERS)
                && self.flags & flag::END_STREAM != 0)
    }
}

/// The header block of a request with these fields, without any compression.
#[must_use]
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let standard = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ];
    let mut block = Vec::new();
    for (name, value) in standard.iter().chain(fields) {
        block.push(0x10);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.bytes());
        }
    }
    block
}

/// Encodes an integer with a seven-bit prefix (RFC 7541, 5.1). The eighth bit, zero, means that the string is not
/// Huffman-coded.
fn integer(block: &mut Vec<u8>, value: usize) {
    const MOST: usize = 127;
    if value < MOST {
        block.push(value as u8);
        return;
    }
    block.push(MOST as u8);
    let mut left = value - MOST;
    while left >= 128 {
        block.push(left as u8 | 128);
        left /= 128;
    }
    block.push(left as u8);
}

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub struct H2 {
    /// The connection itself, to send bytes that break every rule.
    pub wire: Wire,
    next: u32,
}

impl H2 {
    /// Connects and sends a client's first bytes: [`Self::opening`].
    ///
    /// # Panics
    /// If nothing listens at this address.
    #[must_use]
    pub fn connect(to: SocketAddr) -> Self {
        let mut h2 = Self::silent(to);
        h2.wire.send(Self::opening());
        h2
    }

    /// Connects and sends nothing.
    ///
    /// # Panics
    /// If nothing listens at this address.
    #[must_use]
    pub fn silent(to: SocketAddr) -> Self {
        Self {
            wire: Wire::connect(to),
            next: 1,
        }
    }

    /// The connection preface, then settings and a window update for the largest frames and the widest windows.
    #[must_use]
    pub fn opening() -> Vec<u8> {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        const MAX_FRAME_SIZE: u16 = 5;
        /// Initial window of the connection (RFC 9113, 6.9.2).
        const WINDOW: u32 = 65_535;
        let mut settings = Vec::new();
        for (name, value) in [
            (INITIAL_WINDOW_SIZE, WIDEST_WINDOW),
            (MAX_FRAME_SIZE, LARGEST_FRAME),
        ] {
            settings.extend(name.to_be_bytes());
            settings.extend(value.to_be_bytes());
        }
        let wider = (WIDEST_WINDOW - WINDOW).to_be_bytes();
        [
            PREFACE,
            &Frame::new(kind::SETTINGS, 0, 0, settings).bytes(),
            &Frame::new(kind::WINDOW_UPDATE, 0, 0, wider).bytes(),
        ]
        .concat()
    }

    /// Returns the identifier of a new stream.
    pub fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) {
        self.wire
            .send(Frame::new(kind, flags, stream, payload).bytes());
    }

    /// Sends a GET and returns its stream.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn get(&mut self, path: &str) -> u32 {
        self.get_with(path, &[])
    }

    /// Sends a GET with additional fields and returns its stream.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> u32 {
        let stream = self.stream();
        let flags = flag::END_STREAM | flag::END_HEADERS;
        self.send(kind::HEADERS, flags, stream, head("GET", path, fields));
        stream
    }

    /// Sends the header block of a POST whose body follows, and returns its stream.
    ///
    /// # Panics
    /// If the connection is broken.
    pub fn post(&mut self, path: &str) -> u32 {
        let stream = self.stream();
        self.send(
            kind::HEADERS,
            flag::END_HEADERS,
            stream,
            head("POST", path, &[]),
        );
        stream
    }

    /// Reads the next frame.
    ///
    /// # Panics
    /// If the connection ends first.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        let head = self.wire.take(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.wire.take(length as usize),
        }
    }

    /// Reads up to the first frame for which `wanted` is true, and acknowledges frames on the way where HTTP/2 requires it.
    ///
    /// # Panics
    /// If the connection ends first.
    #[track_caller]
    pub fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frame();
            if matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.flags & flag::ACK == 0 {
                let answer = match frame.kind {
                    kind::PING => frame.payload.clone(),
                    _ => Vec::new(),
                };
                self.send(frame.kind, flag::ACK, 0, answer);
            }
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Reads up to the end of each of these streams, in any order.
    ///
    /// # Panics
    /// If the connection ends first, or a stream is reset.
    #[track_caller]
    pub fn answers(&mut self, streams: &[u32]) {
        let mut open = streams.to_vec();
        while !open.is_empty() {
            let frame = self.until(Frame::ends_stream);
            if open.contains(&frame.stream) {
                assert_ne!(frame.kind, kind::RST_STREAM, "{frame:?}");
            }
            open.retain(|stream| *stream != frame.stream);
        }
    }
}
