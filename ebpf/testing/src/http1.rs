//! Finds the expected counts of HTTP/1 messages, with `httparse` and by the rules of RFC 9112, section 6.3.
//!
//! Bias: where these rules leave a choice to the recipient, or `httparse` rejects a message, the expected counts are
//! unknown.

use httparse::{EMPTY_HEADER, Header, Request, Response, Status, parse_chunk_size, parse_headers};

/// Maximum number of fields of one head that are read. With more fields, the expected counts are unknown.
const FIELDS: usize = 256;

/// Maximum number of digits of a chunk size that `httparse` reads. With more digits, the expected counts are unknown.
const CHUNK_DIGITS: usize = 16;

/// The bytes that follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No bytes: the next message follows the head.
    Nothing,
    /// A body of this many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunks,
    /// A body of all bytes until the connection closes.
    UntilClose,
}

/// Returns the kind of bytes that follow a head, by RFC 9112, section 6.3, cases 3 to 8. Returns `None` if the
/// recipient may choose, or if the head is in error.
pub fn framing(fields: &[Header<'_>], response: bool) -> Option<Framing> {
    let list = |name: &'static str| {
        let values = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| String::from_utf8_lossy(field.value).to_lowercase());
        let items = values.flat_map(|value| {
            let items = value.split(',').map(|item| item.trim().to_owned());
            items.collect::<Vec<_>>()
        });
        items.collect::<Vec<_>>()
    };
    if let Some(last) = list("transfer-encoding").last() {
        return match last.as_str() {
            "chunked" => Some(Framing::Chunks),
            "" => None,
            coding if coding.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Some(Framing::UntilClose)
            }
            // The text is not the name of a coding, so the length of the body is unknown.
            _ => None,
        };
    }
    let lengths = list("content-length");
    match lengths.first() {
        None if response => Some(Framing::UntilClose),
        None => Some(Framing::Nothing),
        Some(first) if lengths.iter().any(|length| length != first) => None,
        Some(first) if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) => None,
        Some(first) => match first.parse().ok()? {
            0 => Some(Framing::Nothing),
            length => Some(Framing::Length(length)),
        },
    }
}

/// The point up to which a stream could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The stream was read to its end. It ends at the end of a message.
    Between,
    /// The stream was read to its end. It ends within a message.
    Within,
    /// The rest of the stream is not HTTP/1 messages: a body until the close, or a tunnel.
    Rest,
    /// The stream was read up to bytes for which the expected counts are unknown.
    Unknown,
}

/// Returns the bytes after a body, or in `Err` the reason why the end of the body was not found.
fn behind(body: &[u8], framing: Framing) -> Result<&[u8], End> {
    match framing {
        Framing::Nothing => Ok(body),
        Framing::Length(length) => usize::try_from(length)
            .ok()
            .and_then(|length| body.get(length..))
            .ok_or(End::Within),
        Framing::UntilClose => Err(End::Rest),
        Framing::Chunks => behind_chunks(body),
    }
}

fn behind_chunks(mut body: &[u8]) -> Result<&[u8], End> {
    loop {
        let digits = body
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if digits > CHUNK_DIGITS {
            return Err(End::Unknown);
        }
        // A bare newline in an extension ends the line for some recipients and not for others, so the expected counts
        // are unknown.
        let line = body.iter().position(|byte| *byte == b'\n');
        if line.is_some_and(|end| end == 0 || body[end - 1] != b'\r') {
            return Err(End::Unknown);
        }
        let (start, size) = match parse_chunk_size(body) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return Err(End::Within),
            Err(_) => return Err(End::Unknown),
        };
        body = &body[start..];
        if size == 0 {
            break;
        }
        let data = usize::try_from(size).map_err(|_| End::Within)?;
        let rest = body.get(data..).ok_or(End::Within)?;
        body = match rest {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Err(End::Within),
            _ => return Err(End::Unknown),
        };
    }
    let mut fields = [EMPTY_HEADER; FIELDS];
    match parse_headers(body, &mut fields) {
        Ok(Status::Complete((length, _))) => Ok(&body[length..]),
        Ok(Status::Partial) => Err(End::Within),
        Err(_) => Err(End::Unknown),
    }
}

/// Returns the number of requests that begin in a stream, and the point up to which the stream could be read.
pub fn requests(mut stream: &[u8]) -> (u64, End) {
    let mut begun = 0;
    loop {
        // Empty lines before a request are skipped (RFC 9112, 2.2), as `httparse` does.
        while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = stream {
            stream = rest;
        }
        if stream.is_empty() || stream == b"\r" {
            return (begun, End::Between);
        }
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut request = Request::new(&mut fields);
        let length = match request.parse(stream) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => {
                // Bytes that may still become the HTTP/2 preface do not begin a request. Nor do, at the beginning of
                // the connection, bytes that may be a header of the PROXY protocol.
                let may_be =
                    |other: &[u8]| stream.iter().zip(other).all(|(byte, other)| byte == other);
                let may_be_proxy = may_be(b"PROXY TC") || may_be(b"PROXY UN");
                let waits = may_be(b"PRI * HTTP/2.0\r\n") || (begun == 0 && may_be_proxy);
                return (begun + u64::from(!waits), End::Within);
            }
            Err(_) => return (begun, End::Unknown),
        };
        begun += 1;
        let Some(framing) = framing(request.headers, false) else {
            return (begun, End::Unknown);
        };
        match behind(&stream[length..], framing) {
            Ok(rest) => stream = rest,
            Err(end) => return (begun, end),
        }
    }
}

/// Kind of a request, as far as it determines the length of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A request that is neither HEAD nor CONNECT.
    Plain,
    /// HEAD: the response has no body.
    Head,
    /// CONNECT: the connection may become a tunnel.
    Connect,
}

/// Returns the statuses of the complete final responses to these requests in a stream, and the point up to which the
/// stream could be read.
pub fn responses(asked: &[Asked], mut stream: &[u8]) -> (Vec<u16>, End) {
    let mut complete = Vec::new();
    loop {
        if stream.is_empty() {
            return (complete, End::Between);
        }
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut response = Response::new(&mut fields);
        let length = match response.parse(stream) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return (complete, End::Within),
            Err(_) => return (complete, End::Unknown),
        };
        let status = response.code.unwrap_or(0);
        let question = asked.get(complete.len()).copied();
        let framing = match (status, question) {
            (..100, _) => return (complete, End::Unknown),
            (101, _) | (200..300, Some(Asked::Connect)) => return (complete, End::Rest),
            (100..200 | 204 | 304, _) | (_, Some(Asked::Head)) => Some(Framing::Nothing),
            _ => framing(response.headers, true),
        };
        let Some(framing) = framing else {
            return (complete, End::Unknown);
        };
        match behind(&stream[length..], framing) {
            Ok(rest) => stream = rest,
            Err(end) => return (complete, end),
        }
        // A response without a request is not counted.
        if status >= 200 && question.is_some() {
            complete.push(status);
        }
    }
}
