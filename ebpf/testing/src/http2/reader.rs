//! Finds the expected counts of an HTTP/2 connection by reading all of it.
//!
//! The reader waits for whole frames. It assembles and decodes header blocks with all their text. The kernel's parser
//! stores only a few bytes, but must count the same for the same bytes.

use std::collections::HashMap;

use ebb_abi::{ended, latency::bucket};
use ebb_parser::direction::Side;
use loona_hpack::Decoder;

use super::{
    PREFACE,
    frames::{END_HEADERS, END_STREAM, PADDED, PRIORITY, kind},
};
use crate::{EXCLUDED, ledger::Figures};

/// Number of bytes of a frame's head.
const HEAD: usize = 9;

/// Reason why no peer could have sent a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The bytes do not begin with the preface.
    Preface,
    /// The padding or the priority is longer than its frame.
    Payload,
    /// A header block cannot be decoded, or continues in a frame of another stream or type.
    Block,
    /// A header block has more than one frame, and the reader accepts only one.
    Continued,
    /// A response has no status, more than one status, or a status that is not a number.
    Status,
}

/// A stream in flight.
#[derive(Debug)]
struct Stream {
    since: u64,
    class: usize,
    excluded: bool,
}

/// A header block whose end has not arrived yet.
#[derive(Debug)]
struct Block {
    kind: u8,
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
}

/// The reader's state of one direction.
struct Half {
    side: Side,
    /// Bytes of an incomplete frame.
    bytes: Vec<u8>,
    /// True if the head of the incomplete frame has been handled.
    looked: bool,
    greeted: bool,
    block: Option<Block>,
    decoder: Decoder<'static>,
}

impl Half {
    fn new(side: Side) -> Self {
        let mut decoder = Decoder::new();
        // The decoder accepts every table size that the receiver of the header blocks can have allowed.
        decoder.set_max_allowed_table_size(usize::from(u16::MAX));
        Self {
            side,
            bytes: Vec::new(),
            looked: false,
            greeted: side == Side::Responses,
            block: None,
            decoder,
        }
    }
}

/// Reads both directions of a connection.
pub struct Reader {
    halves: [Half; 2],
    streams: HashMap<u32, Stream>,
    newest: u32,
    /// The server has refused all streams above this one (GOAWAY).
    last: u32,
    continued: bool,
    figures: Figures,
}

impl Reader {
    /// Returns a reader for a new connection.
    pub fn new() -> Self {
        Self {
            halves: [Half::new(Side::Requests), Half::new(Side::Responses)],
            streams: HashMap::new(),
            newest: 0,
            last: u32::MAX,
            continued: true,
            figures: Figures::NOTHING,
        }
    }

    /// Returns a reader for any bytes, in which a header block may be split between frames at any byte. This reader
    /// rejects every split block, because the parser does not examine a string that continues in another frame.
    pub fn without_continuations() -> Self {
        Self {
            continued: false,
            ..Self::new()
        }
    }

    /// Returns the counts that are expected after the bytes that have been read.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Returns the number of streams in flight, without excluded ones.
    pub fn open(&self) -> u64 {
        self.figures.http2
    }

    /// Reads bytes that have arrived.
    ///
    /// # Errors
    /// Fails if no peer could have sent the bytes. For such bytes, no counts are expected.
    pub fn read(&mut self, side: Side, bytes: &[u8], now: u64) -> Result<(), Broken> {
        self.frames(side, bytes, now)?;
        // The parser ends streams that are refused later after it has read the whole packet.
        let refused = |stream: &&u32| **stream > self.last;
        let refused: Vec<_> = self.streams.keys().filter(refused).copied().collect();
        for stream in refused {
            self.end(stream, Some(ended::ABORTED), now);
        }
        Ok(())
    }

    fn frames(&mut self, side: Side, bytes: &[u8], now: u64) -> Result<(), Broken> {
        let half = &mut self.halves[side as usize];
        half.bytes.extend(bytes);
        if !half.greeted {
            let Some((preface, rest)) = half.bytes.split_first_chunk() else {
                return Ok(());
            };
            if preface != PREFACE {
                return Err(Broken::Preface);
            }
            half.bytes = rest.to_vec();
            half.greeted = true;
        }
        loop {
            let half = &mut self.halves[side as usize];
            let Some((head, rest)) = half.bytes.split_first_chunk::<HEAD>() else {
                return Ok(());
            };
            let (head, length) = Head::of(*head);
            if head.kind == kind::GOAWAY
                && side == Side::Responses
                && length >= 4
                && let Some(last) = rest.first_chunk()
            {
                self.last = self.last.min(u32::from_be_bytes(*last) & 0x7fff_ffff);
            }
            let payload = rest.get(..length).map(<[u8]>::to_vec);
            if !half.looked {
                half.looked = true;
                self.begins(side, head, now);
            }
            let Some(payload) = payload else {
                return Ok(());
            };
            let half = &mut self.halves[side as usize];
            half.looked = false;
            half.bytes.drain(..HEAD + length);
            self.whole(side, head, &payload, now)?;
        }
    }

    /// Handles the head of a frame.
    fn begins(&mut self, side: Side, head: Head, now: u64) {
        match head.kind {
            kind::HEADERS
                if side == Side::Requests && head.stream % 2 == 1 && head.stream > self.newest =>
            {
                self.newest = head.stream;
                let stream = Stream {
                    since: now,
                    class: ended::ABORTED,
                    excluded: false,
                };
                self.streams.insert(head.stream, stream);
                self.figures.started += 1;
                self.figures.http2 += 1;
                self.figures.area = self.figures.area.wrapping_sub(now);
                if head.stream > self.last {
                    self.end(head.stream, Some(ended::ABORTED), now);
                }
            }
            kind::RST_STREAM => self.end(head.stream, Some(ended::ABORTED), now),
            _ => {}
        }
    }

    /// Handles a whole frame.
    fn whole(&mut self, side: Side, head: Head, payload: &[u8], now: u64) -> Result<(), Broken> {
        let half = &mut self.halves[side as usize];
        if half.block.is_some() && head.kind != kind::CONTINUATION {
            return Err(Broken::Block);
        }
        let ends = head.flags & END_STREAM != 0;
        match head.kind {
            kind::DATA => {
                if side == Side::Responses && ends {
                    self.end(head.stream, None, now);
                }
                return Ok(());
            }
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION
                if !self.continued && head.flags & END_HEADERS == 0 =>
            {
                return Err(Broken::Continued);
            }
            kind::HEADERS | kind::PUSH_PROMISE => {
                half.block = Some(Block {
                    kind: head.kind,
                    stream: head.stream,
                    ends,
                    bytes: head.fields(payload)?.to_vec(),
                });
            }
            kind::CONTINUATION => match &mut half.block {
                Some(block) if block.stream == head.stream => block.bytes.extend(payload),
                _ => return Err(Broken::Block),
            },
            _ => return Ok(()),
        }
        if head.flags & END_HEADERS != 0 {
            let block = half.block.take().ok_or(Broken::Block)?;
            let fields = half
                .decoder
                .decode(&block.bytes)
                .map_err(|_| Broken::Block)?;
            if block.kind == kind::HEADERS {
                match half.side {
                    Side::Requests => self.asked(&block, &fields),
                    Side::Responses => self.answered(&block, &fields, now)?,
                }
            }
        }
        Ok(())
    }

    /// Handles the complete head of a request.
    fn asked(&mut self, block: &Block, fields: &[(Vec<u8>, Vec<u8>)]) {
        if !fields.iter().any(|(name, value)| is_excluded(name, value)) {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&block.stream)
            && !stream.excluded
        {
            stream.excluded = true;
            self.figures.http2 -= 1;
            self.figures.ended[ended::EXCLUDED] += 1;
            self.figures.area = self.figures.area.wrapping_add(stream.since);
        }
    }

    /// Handles the complete head of a response, or its trailers.
    fn answered(
        &mut self,
        block: &Block,
        fields: &[(Vec<u8>, Vec<u8>)],
        now: u64,
    ) -> Result<(), Broken> {
        let mut classes = fields
            .iter()
            .filter(|(name, _)| name == b":status")
            .map(|(_, value)| match value[..] {
                [digit @ b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => Ok(usize::from(digit - b'0')),
                _ => Err(Broken::Status),
            });
        let class = classes.next().transpose()?;
        // The status is the first field (RFC 9113, 8.3), and an interim response does not end the stream (8.1).
        let first = fields.first().is_some_and(|(name, _)| name == b":status");
        if classes.next().is_some() || class.is_some() != first || (class == Some(1) && block.ends)
        {
            return Err(Broken::Status);
        }
        if let Some(class @ 2..) = class
            && let Some(stream) = self.streams.get_mut(&block.stream)
        {
            stream.class = class;
        }
        if block.ends {
            self.end(block.stream, None, now);
        }
        Ok(())
    }

    /// Ends a stream. `way` is the way in which it ends; `None`: the class of its status.
    fn end(&mut self, stream: u32, way: Option<usize>, now: u64) {
        let way = way.or((stream > self.last).then_some(ended::ABORTED));
        let Some(stream) = self.streams.remove(&stream) else {
            return;
        };
        if stream.excluded {
            return;
        }
        self.figures.http2 -= 1;
        self.figures.ended[way.unwrap_or(stream.class)] += 1;
        self.figures.area = self.figures.area.wrapping_add(now);
        self.figures.latency[bucket(now.wrapping_sub(stream.since))] += 1;
    }

    /// Handles the close of the connection.
    pub fn close(&mut self, now: u64) {
        let open = self.open();
        self.streams.clear();
        self.figures.http2 = 0;
        self.figures.ended[ended::ABORTED] += open;
        self.figures.area = self.figures.area.wrapping_add(now.wrapping_mul(open));
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

/// The head of a frame, without the length.
#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn of(bytes: [u8; HEAD]) -> (Self, usize) {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let head = Self {
            kind,
            flags,
            // The highest bit of the stream identifier is reserved.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        };
        (head, u32::from_be_bytes([0, a, b, c]) as usize)
    }

    /// Returns the fields in a payload, without padding, priority and promised stream.
    fn fields(self, payload: &[u8]) -> Result<&[u8], Broken> {
        let (padding, payload) = if self.flags & PADDED != 0 {
            let (padding, payload) = payload.split_first().ok_or(Broken::Payload)?;
            (usize::from(*padding), payload)
        } else {
            (0, payload)
        };
        let prefix = match self.kind {
            kind::PUSH_PROMISE => 4,
            _ if self.flags & PRIORITY != 0 => 5,
            _ => 0,
        };
        let end = payload.len().checked_sub(padding).ok_or(Broken::Payload)?;
        payload.get(prefix..end).ok_or(Broken::Payload)
    }
}

/// Returns whether a field excludes its request: a field of a probe, or an excluded path.
fn is_excluded(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"user-agent" => value.starts_with(b"kube-probe/"),
        b"k-network-probe" | b"k-kubelet-probe" => true,
        b":path" => {
            let path = value.split(|byte| *byte == b'?').next().unwrap_or(value);
            EXCLUDED.iter().any(|excluded| excluded.as_bytes() == path)
        }
        _ => false,
    }
}
