//! Frames that are written by hand (RFC 9113, section 6), including frames that no library sends.

/// Types of frames.
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// A head, or trailers.
    pub const HEADERS: u8 = 1;
    /// A priority: deprecated, but still sent by some clients.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream, from either side.
    pub const RST_STREAM: u8 = 3;
    /// Settings of the connection.
    pub const SETTINGS: u8 = 4;
    /// A stream that the server begins.
    pub const PUSH_PROMISE: u8 = 5;
    /// A ping of the connection.
    pub const PING: u8 = 6;
    /// The sender of this frame accepts no new streams.
    pub const GOAWAY: u8 = 7;
    /// Flow control of a stream or of the connection.
    pub const WINDOW_UPDATE: u8 = 8;
    /// The rest of a header block.
    pub const CONTINUATION: u8 = 9;
}

/// Flag of DATA and HEADERS: the sender's last frame of this stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of SETTINGS and PING: an acknowledgement.
pub const ACK: u8 = 0x1;
/// Flag: the header block ends with this frame.
pub const END_HEADERS: u8 = 0x4;
/// Flag: the payload begins with the length of the padding, and ends with the padding.
pub const PADDED: u8 = 0x8;
/// Flag: a priority is before the header block.
pub const PRIORITY: u8 = 0x20;

/// Returns a frame of any kind.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a frame has a length of 24 bits");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns a header block in one frame.
pub fn headers(stream: u32, flags: u8, block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::HEADERS, flags | END_HEADERS, stream, block)
}

/// Returns a header block cut into frames of these lengths. The last frame takes the rest.
pub fn continued(stream: u32, flags: u8, block: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = block;
    let mut frames = Vec::new();
    for length in lengths {
        let (part, behind) = rest.split_at(rest.len().min(*length));
        frames.push(part);
        rest = behind;
    }
    frames.push(rest);
    let last = frames.len() - 1;
    let numbered = frames.into_iter().enumerate();
    let framed = numbered.map(|(index, part)| {
        let end = if index == last { END_HEADERS } else { 0 };
        if index == 0 {
            frame(kind::HEADERS, flags | end, stream, part)
        } else {
            frame(kind::CONTINUATION, end, stream, part)
        }
    });
    framed.collect()
}

/// Returns a payload with this much padding.
pub fn padded(payload: &[u8], padding: u8) -> Vec<u8> {
    let mut padded = vec![padding];
    padded.extend(payload);
    padded.resize(padded.len() + usize::from(padding), 0);
    padded
}

/// Returns a DATA frame.
pub fn data(stream: u32, flags: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

/// Returns an RST_STREAM frame with the error CANCEL.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, 8u32.to_be_bytes())
}

/// Returns a SETTINGS frame that changes one setting: the maximum number of concurrent streams is 100.
pub fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, [0, 3, 0, 0, 0, 100])
}

/// Returns an acknowledgement of SETTINGS.
pub fn settings_ack() -> Vec<u8> {
    frame(kind::SETTINGS, ACK, 0, [])
}

/// Returns a PING frame.
pub fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, *b"12345678")
}

/// Returns a WINDOW_UPDATE frame.
pub fn window_update(stream: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, 1000u32.to_be_bytes())
}
