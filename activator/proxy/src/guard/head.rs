//! Validates the head of a request, and finds the length of the body after it.
//!
//! The rules are stricter than RFC 9112 wherever two readers could interpret one head as two different requests.
//! Request smuggling needs heads with two interpretations.

use thiserror::Error;

/// Maximum number of fields in a head: the limit of hyper and, for example, Apache.
pub(super) const MAX_FIELDS: usize = 100;

/// Reasons why the bytes of a request are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Flaw {
    #[error("a line of the header ends with LF alone; CR LF is required")]
    BareLf,
    #[error("the header holds a CR that is not followed by LF")]
    BareCr,
    #[error("the request line is not METHOD TARGET HTTP/1.1 (or HTTP/1.0)")]
    RequestLine,
    #[error("a line of the header begins with a space: folded lines are not allowed")]
    Folded,
    #[error("a field of the header is not NAME: VALUE, or has a byte that is not allowed there")]
    Field,
    #[error("content-length and transfer-encoding are given together; only one of them is allowed")]
    TwoFramings,
    #[error("content-length is given more than once; only one is allowed")]
    TwoLengths,
    #[error("content-length is not a number of bytes")]
    Length,
    #[error("transfer-encoding does not end with chunked, or is used with HTTP/1.0")]
    Coding,
    #[error("transfer-encoding has a coding other than chunked; only chunked is supported")]
    UnknownCoding,
    #[error("the header has more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("the header is longer than {0} bytes")]
    TooLong(usize),
    #[error("there is not enough memory for the header")]
    NoMemory,
    #[error("the size of a chunk is not a hexadecimal number followed by CR LF")]
    ChunkSize,
    #[error("a chunk does not end with CR LF")]
    ChunkEnd,
    #[error("a trailer is not NAME: VALUE followed by CR LF")]
    Trailer,
}

/// How the length of a body is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The length of the body in bytes; 0 without a body.
    Length(u64),
    Chunked,
}

/// The properties of a request head that determine how the bytes after the head are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    /// True if the request asks for an upgrade. If the upgrade is accepted, the bytes after the request are not HTTP.
    pub(super) upgrades: bool,
}

/// Parses a head line by line. Lines are passed without CR LF.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadReader {
    lines: usize,
    old: bool,
    length: Option<u64>,
    chunked: bool,
    upgrades: bool,
}

impl HeadReader {
    pub(super) const NEW: Self = HeadReader {
        lines: 0,
        old: false,
        length: None,
        chunked: false,
        upgrades: false,
    };

    /// Returns whether the request line has been read.
    pub(super) fn is_begun(&self) -> bool {
        self.lines > 0
    }

    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Flaw> {
        self.lines += 1;
        if self.lines == 1 {
            self.old = request_line(line)?;
            return Ok(());
        }
        if self.lines > MAX_FIELDS + 1 {
            return Err(Flaw::TooManyFields);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Flaw::TwoLengths);
            }
            self.length = Some(length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.coding(value)?;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrades = !self.old;
        }
        if self.chunked && self.length.is_some() {
            return Err(Flaw::TwoFramings);
        }
        Ok(())
    }

    /// Parses `Transfer-Encoding` (RFC 9112 section 6.1). Only chunked is supported. A body with another coding would
    /// be forwarded unchanged, but the backend would not know of the coding, because this hop-by-hop field is removed.
    fn coding(&mut self, value: &[u8]) -> Result<(), Flaw> {
        let last = value.rsplit(|&byte| byte == b',').next();
        let ends_chunked = last.is_some_and(|last| trim(last).eq_ignore_ascii_case(b"chunked"));
        if self.old || self.chunked || !ends_chunked {
            return Err(Flaw::Coding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Flaw::UnknownCoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Returns the parsed head. Must be called at the empty line that ends the head.
    pub(super) fn end(self) -> Head {
        Head {
            framing: match self.length {
                _ if self.chunked => Framing::Chunked,
                length => Framing::Length(length.unwrap_or(0)),
            },
            upgrades: self.upgrades,
        }
    }
}

/// Validates the request line. Returns whether the version is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Flaw> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Flaw::RequestLine);
    };
    let good = !method.is_empty()
        && method.iter().all(|&byte| is_token(byte))
        && !target.is_empty()
        && target.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    match version {
        b"HTTP/1.1" if good => Ok(false),
        b"HTTP/1.0" if good => Ok(true),
        _ => Err(Flaw::RequestLine),
    }
}

/// Parses a field line into name and value (RFC 9110 section 5).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Flaw::Folded);
    }
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Flaw::Field)?);
    let value = trim(value.get(1..).unwrap_or_default());
    if name.is_empty()
        || !name.iter().all(|&byte| is_token(byte))
        || !value.iter().all(|&byte| is_text(byte))
    {
        return Err(Flaw::Field);
    }
    Ok((name, value))
}

fn length(value: &[u8]) -> Result<u64, Flaw> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::Length);
    }
    value
        .iter()
        .try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        // hyper uses the two largest numbers as special values, so they are not valid lengths here.
        .filter(|&length| length < u64::MAX - 1)
        .ok_or(Flaw::Length)
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |&byte: &u8| byte == b' ' || byte == b'\t';
    let start = text.iter().position(|byte| !is_space(byte));
    let end = text.iter().rposition(|byte| !is_space(byte));
    match (start, end) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => &[],
    }
}

/// Returns whether the byte is allowed in a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&'
        | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Returns whether the byte is allowed in a field value (RFC 9110 section 5.5): no control characters except the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
