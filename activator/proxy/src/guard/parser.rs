//! Parses the requests on one HTTP/1 connection. Pure: it gets bytes and returns a verdict about them.

use super::head::{Flaw, Framing, Head, HeadReader, field};

/// Maximum length of a line with a chunk size, extensions included. Chunk extensions are hardly used in practice; hyper
/// allows 16 KiB of extensions in a whole body.
const MAX_SIZE_LINE: usize = 256;

/// The parser's decision about a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All bytes pass except the last ones, whose number is given. They are the beginning of an incomplete head.
    Keep(usize),
    /// The bytes up to this offset pass. The request that begins at the offset is refused.
    Refuse(usize, Flaw),
    /// The bytes up to this offset pass. From the offset on, the current body is invalid.
    Break(usize),
    /// The bytes up to this offset pass. They end with a request for an upgrade. Whether the following bytes are HTTP
    /// depends on the response to this request.
    Undecided(usize),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The parser is in the head of a request. `seen` bytes of the head are parsed, and the current line begins at
    /// `line`.
    Head {
        reader: HeadReader,
        line: usize,
        seen: usize,
    },
    Body(u64),
    /// The parser is in the line with a chunk size. `read` bytes of the line are parsed.
    Size {
        size: u64,
        digits: u8,
        read: usize,
        extension: bool,
        cr: bool,
    },
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// The parser is in the trailers. `read` bytes of the trailers are parsed.
    Trailers {
        read: usize,
    },
    Undecided,
}

const HEAD: State = State::Head {
    reader: HeadReader::NEW,
    line: 0,
    seen: 0,
};
const SIZE: State = State::Size {
    size: 0,
    digits: 0,
    read: 0,
    extension: false,
    cr: false,
};

/// A head, with the offsets of its first byte and of the byte after it.
struct CompleteHead {
    start: usize,
    end: usize,
    head: Head,
}

/// The parser of the requests on one connection.
#[derive(Debug)]
pub(super) struct RequestParser {
    state: State,
    max_header: usize,
    /// True if the current request asks for an upgrade.
    upgrades: bool,
    /// The current line of a trailer.
    trailer: Vec<u8>,
    /// Number of request heads that were passed on.
    pub(super) heads: u64,
}

impl RequestParser {
    pub(super) fn new(max_header: usize) -> Self {
        RequestParser {
            state: HEAD,
            max_header,
            upgrades: false,
            trailer: Vec::new(),
            heads: 0,
        }
    }

    /// Continues with HTTP after an upgrade was declined.
    pub(super) fn go_on(&mut self) {
        self.state = HEAD;
    }

    /// Parses `data`. If the last call ended in an incomplete head, `data` must begin with the bytes of that head.
    pub(super) fn parse(&mut self, data: &[u8]) -> Verdict {
        let mut at = 0;
        // Offset of the current request's head, if it is in `data`.
        let mut began = None;
        loop {
            let rest = &data[at..];
            match self.state {
                State::Head { .. } => match self.head(rest) {
                    Ok(None) => return Verdict::Keep(rest.len()),
                    Ok(Some(CompleteHead { start, end, head })) => {
                        self.heads += 1;
                        began = Some(at + start);
                        at += end;
                        self.upgrades = head.upgrades;
                        self.state = match head.framing {
                            Framing::Length(length) => State::Body(length),
                            Framing::Chunked => SIZE,
                        };
                    }
                    Err(flaw) => return Verdict::Refuse(at, flaw),
                },
                State::Body(0) => {
                    self.state = self.after();
                }
                State::Undecided => return Verdict::Undecided(at),
                _ if rest.is_empty() => return Verdict::Keep(0),
                State::Body(left) => {
                    let step = left.min(rest.len() as u64);
                    at += step as usize;
                    self.state = State::Body(left - step);
                }
                State::Chunk(0) => self.state = State::ChunkCr,
                State::Chunk(left) => {
                    let step = left.min(rest.len() as u64);
                    at += step as usize;
                    self.state = State::Chunk(left - step);
                }
                _ => match self.byte(rest[0]) {
                    Ok(()) => at += 1,
                    Err(flaw) => {
                        return match began {
                            Some(head) => {
                                self.heads -= 1;
                                Verdict::Refuse(head, flaw)
                            }
                            None => Verdict::Break(at),
                        };
                    }
                },
            }
        }
    }

    fn after(&self) -> State {
        if self.upgrades {
            State::Undecided
        } else {
            HEAD
        }
    }

    /// Parses the head at the start of `data`. Returns `None` if the head is incomplete.
    fn head(&mut self, data: &[u8]) -> Result<Option<CompleteHead>, Flaw> {
        let State::Head {
            mut reader,
            mut line,
            mut seen,
        } = self.state
        else {
            return Ok(None);
        };
        let mut start = 0;
        while let Some(found) = memchr::memchr(b'\n', &data[seen..]) {
            let end = seen + found;
            let text = &data[line..end];
            let Some((b'\r', text)) = text.split_last() else {
                return Err(Flaw::BareLf);
            };
            if memchr::memchr2(b'\r', 0, text).is_some() {
                return Err(if text.contains(&0) {
                    Flaw::Field
                } else {
                    Flaw::BareCr
                });
            }
            seen = end + 1;
            line = seen;
            if seen > self.max_header {
                return Err(Flaw::TooLong(self.max_header));
            }
            if !text.is_empty() {
                reader.line(text)?;
            } else if reader.is_begun() {
                return Ok(Some(CompleteHead {
                    start,
                    end: seen,
                    head: reader.end(),
                }));
            } else {
                // Empty lines before a request are skipped (RFC 9112 section 2.2).
                start = seen;
            }
        }
        if data.len() > self.max_header {
            return Err(Flaw::TooLong(self.max_header));
        }
        self.state = State::Head {
            reader,
            line,
            seen: data.len(),
        };
        Ok(None)
    }

    /// Parses one byte of a chunked body that is not chunk data.
    fn byte(&mut self, byte: u8) -> Result<(), Flaw> {
        self.state = match (self.state, byte) {
            (
                State::Size {
                    size,
                    digits,
                    cr: true,
                    ..
                },
                b'\n',
            ) if digits > 0 => match size {
                0 => State::Trailers { read: 0 },
                size => State::Chunk(size),
            },
            (
                State::Size {
                    size,
                    digits,
                    read,
                    extension,
                    cr: false,
                },
                byte,
            ) if read < MAX_SIZE_LINE => {
                let digit = (byte as char).to_digit(16);
                match (extension, digit, byte) {
                    // A chunk size has at most 15 hexadecimal digits. This is less than 2^60, which fits into 64 bits.
                    (false, Some(digit), _) if digits < 15 => State::Size {
                        size: size << 4 | u64::from(digit),
                        digits: digits + 1,
                        read: read + 1,
                        extension,
                        cr: false,
                    },
                    (_, _, b'\r') => State::Size {
                        size,
                        digits,
                        read: read + 1,
                        extension,
                        cr: true,
                    },
                    (false, _, b';') if digits > 0 => State::Size {
                        size,
                        digits,
                        read: read + 1,
                        extension: true,
                        cr: false,
                    },
                    (true, _, b'\t' | b' '..=b'~' | 0x80..) => State::Size {
                        size,
                        digits,
                        read: read + 1,
                        extension,
                        cr: false,
                    },
                    _ => return Err(Flaw::ChunkSize),
                }
            }
            (State::Size { .. }, _) => return Err(Flaw::ChunkSize),
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => SIZE,
            (State::ChunkCr | State::ChunkLf, _) => return Err(Flaw::ChunkEnd),
            (State::Trailers { read }, byte) => return self.trailer(read + 1, byte),
            (state, _) => state,
        };
        Ok(())
    }

    fn trailer(&mut self, read: usize, byte: u8) -> Result<(), Flaw> {
        self.state = State::Trailers { read };
        if read > self.max_header {
            return Err(Flaw::TooLong(self.max_header));
        }
        if byte != b'\n' {
            self.trailer.push(byte);
            return Ok(());
        }
        let line = std::mem::take(&mut self.trailer);
        match line.split_last() {
            Some((b'\r', [])) => {
                self.state = self.after();
                Ok(())
            }
            Some((b'\r', line)) => field(line).map(drop).map_err(|_| Flaw::Trailer),
            _ => Err(Flaw::Trailer),
        }
    }
}
